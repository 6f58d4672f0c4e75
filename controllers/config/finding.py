"""A finding of a rule: a place in the configuration, named by keys and positions, and what is wrong there."""

import enum
from collections.abc import Iterable, Iterator

import attrs

from nodespan.controllers.config.masking import key_text

# ("machine", "network", "interfaces", 0, "mtu"), as the keys are written.
Path = tuple[str | int, ...]


class Severity(enum.StrEnum):
    """An error makes the whole configuration unusable, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@attrs.frozen
class Span:
    """A place in a text: line and column count from 0, width is the number of characters on that line.

    `source` is the position of the text among those that are read together.
    """

    line: int
    column: int
    width: int = 1
    source: int = 0


@attrs.frozen(kw_only=True)
class Finding:
    """`path` need not exist: something missing is shown at the nearest existing parent.

    `on_key`: the key is wrong, not its value. `choice`: the value is not one of the allowed ones.
    `hides_value`: the value may be a secret. `place` is the place if the path is ambiguous, as for the second of two
    equal keys. `beside` is a key next to it that the rule reads too. `unknown`: a strict check refuses it.
    """

    path: Path
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    on_key: bool = False
    choice: bool = False
    hides_value: bool = False
    place: Span | None = None
    beside: str = ""
    unknown: bool = False


def at(*path: str | int, message: str, hint: str = "", beside: str = "") -> Finding:
    """An error at a path."""
    return Finding(path=path, message=message, hint=hint, beside=beside)


def warn(*path: str | int, message: str, hint: str = "") -> Finding:
    """A warning at a path."""
    return Finding(path=path, message=message, hint=hint, severity=Severity.WARNING)


def under(prefix: Path, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings about a part, as findings about the whole in which the part stands at `prefix`."""
    for finding in findings:
        yield attrs.evolve(finding, path=(*prefix, *finding.path))


def path_text(path: Path) -> str:
    """`machine.network.interfaces[0].mtu`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{key_text(part)}" if text else key_text(part)
    return text
