"""A real browser for tests: Debian's headless Chromium, driven by its DevTools protocol over a pair of pipes.

One process serves all tests of a session; each page has a context of its own, without the cookies of others. Messages
are JSON, each ended by a zero byte, as `--remote-debugging-pipe` has it.
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import trio

from tests.support.deadlines import PATIENCE

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
_CHUNK = 1 << 18
_PATIENCE = 10.0
# What a browser does on its own at the start, and would reach for elsewhere.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--remote-debugging-pipe",
)


def program() -> str | None:
    """The browser of this machine, None if there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """A running browser. Its pages are opened in whichever trio run needs them."""

    def __init__(self, path: str, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # Chromium reads at descriptor 3 and writes at 4.
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        command = ["bash", "-c", script, path, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            command,
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A wrapper, the browser and its children end together.
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number = 0

    def close(self) -> None:
        """End it, and all that it has started."""
        os.close(self._write)
        os.close(self._read)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_PATIENCE)

    def number(self) -> int:
        """The next number of a message."""
        self._number += 1
        return self._number

    @contextlib.asynccontextmanager
    async def page(self, *, width: int = 1280, height: int = 800, **options: Any) -> AsyncIterator["Page"]:
        """A page of this size, in a context of its own; `options` as for `Page.look`."""
        async with trio.open_nursery() as nursery:
            wire = _Wire(self, trio.lowlevel.FdStream(os.dup(self._read)), trio.lowlevel.FdStream(os.dup(self._write)))
            nursery.start_soon(wire.read)
            context = (await wire.call("Target.createBrowserContext"))["browserContextId"]
            target = await wire.call("Target.createTarget", url="about:blank", browserContextId=context)
            attached = await wire.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page = Page(wire, attached["sessionId"])
            await page.prepare(width, height, **options)
            try:
                yield page
            finally:
                with trio.move_on_after(10, shield=True):
                    await wire.call("Target.disposeBrowserContext", browserContextId=context)
                nursery.cancel_scope.cancel()


class CallError(Exception):
    """The browser refused a call."""


class EndedError(Exception):
    """The browser has ended."""


class _Wire:
    """The two pipes, within one trio run."""

    def __init__(self, browser: Browser, source: trio.lowlevel.FdStream, sink: trio.lowlevel.FdStream) -> None:
        self._browser = browser
        self._source = source
        self._sink = sink
        self._answers: dict[int, dict[str, Any]] = {}
        self._arrived = trio.lowlevel.ParkingLot()
        self._lock = trio.Lock()
        self._has_ended = False
        self.events: list[dict[str, Any]] = []

    async def read(self) -> None:
        """Take in what comes, until cancelled or the browser has ended."""
        async with self._source, self._sink:
            rest = b""
            while data := await self._source.receive_some(_CHUNK):
                *messages, rest = (rest + data).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self.events.append(message)
                self._arrived.unpark_all()
            self._has_ended = True
            self._arrived.unpark_all()

    async def call(self, method: str, *, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol. Raises CallError, EndedError."""
        number = self._browser.number()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        try:
            async with self._lock:
                await self._sink.send_all(json.dumps(message).encode() + b"\0")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise EndedError(f"{method}: the browser has ended") from error
        while number not in self._answers:
            if self._has_ended:
                raise EndedError(f"{method}: the browser has ended")
            await self._arrived.park()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise CallError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result


class Page:
    """One page: what is typed, what is seen, and what it asked for and complained about."""

    def __init__(self, wire: _Wire, session: str) -> None:
        self._wire = wire
        self._session = session

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol for this page."""
        return await self._wire.call(method, session=self._session, **parameters)

    async def prepare(self, width: int, height: int, **options: Any) -> None:
        """Be told of requests, messages and errors."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.look(width, height, **options)

    async def look(self, width: int, height: int, *, dark: bool = False, phone: bool = False, scale: int = 1) -> None:
        """The size of the window, and how its user likes it."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            # What moves by itself has an end, for tests and for pictures.
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def open(self, url: str) -> None:
        """Load a page; returns before everything of it is there."""
        answer = await self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), answer

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str, *, within: float = PATIENCE) -> Any:
        """Wait until an expression, or the promise that it is, is true in the page; returns its value."""
        watched = f"""new Promise((resolve) => {{
            const look = async () => {{
                let found;
                try {{ found = await ({expression}); }} catch (error) {{ found = null; }}
                if (found) resolve(found); else setTimeout(look, 20);
            }};
            look();
        }})"""
        with trio.move_on_after(within):
            while True:
                try:
                    return await self.evaluate(watched)
                except CallError:
                    # The page has just been replaced by another.
                    await trio.sleep(0.02)
        raise AssertionError(f"never: {expression}; the page complains of {self.complaints()}")

    async def text(self) -> str:
        """All that can be read."""
        text: str = await self.evaluate("document.body.innerText")
        return text

    async def press(self, key: str, *, code: int = 0, text: str = "") -> None:
        """Press a key and let it go."""
        common = {"key": key, "windowsVirtualKeyCode": code, "text": text}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def screenshot(self, path: Path) -> None:
        """Write what is seen, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        await trio.Path(path).write_bytes(base64.b64decode(answer["data"]))

    def requests(self) -> list[str]:
        """The URLs that the page asked for."""
        return [event["params"]["request"]["url"] for event in self._of("Network.requestWillBeSent")]

    def complaints(self) -> list[str]:
        """Errors and warnings: violations of the policy, exceptions, files that are missing."""
        found = [event["params"]["exceptionDetails"] for event in self._of("Runtime.exceptionThrown")]
        texts = [each.get("exception", {}).get("description") or each["text"] for each in found]
        for event in self._of("Runtime.consoleAPICalled"):
            if event["params"]["type"] in ("error", "warning", "assert"):
                texts.append(" ".join(str(each.get("value")) for each in event["params"]["args"]))
        for event in self._of("Log.entryAdded"):
            entry = event["params"]["entry"]
            if entry["level"] in ("error", "warning"):
                texts.append(f"{entry['text']} {entry.get('url', '')}")
        return texts

    def forget(self) -> None:
        """Begin anew with requests and complaints."""
        self._wire.events.clear()

    def _of(self, method: str) -> Iterator[dict[str, Any]]:
        return (
            event
            for event in self._wire.events
            if event["method"] == method and event.get("sessionId") == self._session
        )


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser for as long as the block lasts."""
    path = program()
    assert path is not None, "there is no Chromium"
    with tempfile.TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True) as profile:
        browser = Browser(path, Path(profile))
        try:
            yield browser
        finally:
            browser.close()


__all__ = ["Browser", "EndedError", "Page", "program", "running_browser"]
