"""Asking the agent something imports only what it takes, for that is most of the time that it takes."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("trio", "attrs", "attr", "cattrs", "ruamel", "structlog", "h11", "prometheus_client", "pyroute2"),
    *(
        "importlib.metadata",
        "asyncio",
        "ssl",
        "ipaddress",
        "email",
        "nodespan.runtime.resource",
        "nodespan.runtime.state",
        "resources",
    ),
)
RUN = """
import sys
from nodespan.runtime.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("IMPORTED", *sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "links"),
        ("get", "links", "lo", "-n", "network"),
        ("get", "links", "-w"),
        ("status",),
        ("status", "-o", "json"),
        ("events", "-w"),
        ("get", "links", "-o", "json"),
        ("get", "links", "-o", "yaml"),
        ("get", "links", "-o", "jsonpath={.spec.mtu}"),
        ("__complete", "get", ""),
        ("__complete", "get", "links", "l"),
        ("completion", "bash"),
    ],
)
def test_frequent_commands_import_little(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command = (sys.executable, "-c", RUN, *arguments)
    environment = {"NODESPAN_SOCKET": str(tmp_path / "none")}
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    imported = done.stderr.partition("IMPORTED ")[2].split()
    assert "nodespan.runtime.cli" in imported, done.stderr
    assert not set(HEAVY) & set(imported)


SHORT_WAY = """
import sys
before = set(sys.modules)
import nodespan.runtime.cli.quick_table
print(*sorted(set(sys.modules) - before - {name for name in sys.modules if name.startswith("__editable__")}))
"""


@pytest.mark.process
def test_the_short_way_of_get_imports_nothing_but_its_own_few_modules() -> None:
    """Beside what Python itself imports at its start. `msgpack` alone takes longer than all of these."""
    command = (sys.executable, "-c", SHORT_WAY)
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "_socket",
        "nodespan",
        "nodespan.runtime",
        "nodespan.runtime.cli",
        "nodespan.runtime.cli.quick_table",
        "nodespan.runtime.paths",
    ]
