"""Structured logs on stderr: readable lines for a terminal, one JSON object a line for machines."""

import contextlib
import logging
import sys
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict

from nodespan.runtime.text.escaping import escaped

_OWN_TEXTS = ("event", "exception", "stack")


def processors(form: str = "auto") -> list[Any]:
    """The processors from an event to a line. `form` is text, json, or auto: text on a terminal, json elsewhere."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks, because the locals of frames may hold secrets.
    if form == "text" or (form == "auto" and sys.stderr.isatty()):
        plain = structlog.dev.plain_traceback
        shared += [structlog.processors.format_exc_info, _for_terminal]
        return [*shared, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return [*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _for_terminal(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape what a terminal would act on, and line breaks, which would feign a line, but for those of our own texts.

    Lists and the like are escaped by their representation.
    """
    return {
        key: escaped(value, keep="\n\t" if key in _OWN_TEXTS else "") if isinstance(value, str) else value
        for key, value in event.items()
    }


class _Tolerant:
    """A stream for logs: a line that cannot be written, to a full disk or a closed pipe, is lost and stops nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def _logger() -> structlog.WriteLogger:
    # A line and its end in one system call: lines of several processes on one stream stay lines.
    return structlog.WriteLogger(cast(TextIO, _Tolerant(sys.stderr)))


def plain_logger() -> Any:
    """A logger to stderr for commands that set up no logging."""
    return structlog.wrap_logger(_logger(), processors=processors())


def configure(form: str = "auto", level: str = "info") -> None:
    """Set up logging for the process; `form` as in `processors`."""
    structlog.configure(
        processors=processors(form),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _logger(),
        cache_logger_on_first_use=False,
    )
