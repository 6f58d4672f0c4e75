"""Structured logs on stderr: readable lines for a terminal, one JSON object a line for machines."""

import logging
import sys
from typing import Any

import structlog


def configure(form: str = "auto", level: str = "info") -> None:
    """Set up logging for the process. `form` is text, json, or auto: text on a terminal, json elsewhere."""
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_text:
        shared.append(
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        )
    else:
        # Plain tracebacks: the locals of frames may hold secrets.
        shared += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
