"""The driver of browsers, with a program in place of one that ends when it is not expected to."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.support.browser import Browser, EndedError

# Answers every call, until one whose text has this word.
_LAST = "evaluate"
_PROGRAM = f"""#!{sys.executable} -IS
import json, os
rest = b""
while True:
    *messages, rest = (rest + os.read(3, 1 << 16)).split(b"\\0")
    for message in map(json.loads, messages):
        if {_LAST!r} in message["method"]:
            raise SystemExit
        result = dict.fromkeys(("browserContextId", "targetId", "sessionId"), "1")
        os.write(4, json.dumps({{"id": message["id"], "result": result}}).encode() + b"\\0")
"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = tmp_path / "browser"
    program.write_text(_PROGRAM)
    program.chmod(0o755)
    found = Browser(str(program), tmp_path)
    try:
        yield found
    finally:
        found.close()


async def test_a_browser_that_ends_fails_the_test_that_waits_for_it_and_those_after_it_at_once(
    browser: Browser,
) -> None:
    with pytest.RaisesGroup(EndedError, flatten_subgroups=True):
        async with browser.page() as page:
            await page.until("true")
    with pytest.RaisesGroup(EndedError, flatten_subgroups=True):
        async with browser.page():
            await trio.sleep_forever()
