"""What other programs undid of what was in effect: shown for some minutes after it was restored."""

from pathlib import Path

from nodespan.kernel.outside_text import read_line

# For how long it is shown, in seconds; it is taken back when the spec is next looked at, which is every minute.
SHOWN_FOR = 300.0
# Process ids are below this (linux/threads.h); ports above are of further sockets of a process, and name none.
_PROCESS_IDS = 1 << 22


def program_of(port: int, proc: Path = Path("/proc")) -> str:
    """Who changes something over this netlink port, in words, as far as that is known."""
    if not 0 < port < _PROCESS_IDS:
        return "another program"
    try:
        name = read_line(proc / str(port) / "comm")
    except OSError:
        return f"another program (process {port}, which has ended)"
    return f"another program ({name}, process {port})"


def restored(what: str, by: str) -> str:
    """The sentence for a problem: `what` is "it was removed", `by` who did that."""
    return f"{what} by {by} and has been restored; have that program leave it alone"


class Disturbances:
    """Which specs were undone, by id, and until when that is shown. Times are the caller's, in seconds."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, float]] = {}

    def add(self, id: str, text: str, now: float) -> None:
        """This happened to a spec."""
        self._shown[id] = (text, now + SHOWN_FOR)

    def forget(self, id: str) -> None:
        """The spec changed or went."""
        self._shown.pop(id, None)

    def of(self, id: str, now: float) -> str:
        """What happened to a spec, "" for nothing that is still shown."""
        text, until = self._shown.get(id, ("", 0.0))
        if now < until:
            return text
        self.forget(id)
        return ""
