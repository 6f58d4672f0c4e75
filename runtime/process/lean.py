"""What a program that stays for months does, before it loads anything, to weigh little and to start fast."""

from nodespan.runtime.process import generated_methods, unneeded

# structlog imports asyncio, and trio imports idna and ssl, for names not of ASCII and for TLS. protobuf imports its
# implementation in Python, 14 modules, beside the compiled one that is used. dnspython imports the tables of IDNA, and
# importlib.metadata with readers of archives and mail, to see which other packages there are.
UNNEEDED = (
    "asyncio",
    "encodings.idna",
    "google.protobuf.internal.python_message",
    "idna",
    "importlib.metadata",
    "ssl",
)


def prepare() -> None:
    """Leave what is imported and not used unloaded, and what is generated and not used uncompiled."""
    for name in UNNEEDED:
        unneeded.leave_unloaded(name)
    generated_methods.compile_when_used()
