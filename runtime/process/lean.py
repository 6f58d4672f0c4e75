"""What a program that stays for months does, before it loads anything, to weigh little and to start fast."""

import importlib

from nodespan.runtime.process import generated_methods, unneeded

# Modules that libraries import and an agent does not use, by who imports them and what for. Each is at least a tenth of
# a megabyte, alone or with what it imports itself.
UNNEEDED = (
    # structlog: its event loop, the loggers of `logging`, and what threads have in common.
    "asyncio",
    "structlog.stdlib",
    "structlog.threadlocal",
    # trio: names that are not of ASCII, which socket looks up by these, too, and TLS.
    "encodings.idna",
    "idna",
    "ssl",
    "stringprep",
    # shutil and pathlib: archives, and paths of Windows.
    "bz2",
    "lzma",
    "ntpath",
    # protobuf: its implementation in Python, 14 modules, beside the compiled one that is used, and points in time.
    "calendar",
    "google.protobuf.internal.python_message",
    # dnspython: which other packages there are, with readers of archives and mail.
    "importlib.metadata",
    # ruamel.yaml: names of files.
    "glob",
)
# What structlog imports if it is there, as it is beside `nodespan[tui]`, for tracebacks with values of variables. Ours
# have none, for there are secrets among these. 70 modules, 4 MB.
UNWANTED = ("colorama", "rich")


def prepare() -> None:
    """Leave what is imported and not used unloaded, and what is generated and not used uncompiled."""
    for name in UNNEEDED:
        unneeded.leave_unloaded(name)
    generated_methods.compile_when_used()
    with unneeded.not_installed(*UNWANTED):
        importlib.import_module("structlog")
