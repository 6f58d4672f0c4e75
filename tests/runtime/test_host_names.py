"""Names of hosts for the resolver of the system: as IDNA would have them."""

import subprocess
import sys
from pathlib import Path

import pytest

from nodespan.runtime.host_names import for_lookup

PROGRAM = """
import sys
import trio
from nodespan.runtime.host_names import for_lookup

async def main():
    await trio.socket.getaddrinfo(for_lookup("127.0.0.1"), 80)
    await trio.socket.getaddrinfo(for_lookup("::1"), 80)

trio.run(main)
print("encodings.idna" in sys.modules)
"""


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "fe80::1%eth0", "Example.org", "example.org.", "x" * 63 + ".org", "_srv.a-b.example", "has space"],
)
def test_what_idna_leaves_as_it_is_is_given_as_bytes(host: str) -> None:
    assert for_lookup(host) == host.encode("idna") == host.encode()


@pytest.mark.parametrize("host", ["bücher.example", "a..b", "x" * 64 + ".org", "x" * 64, ".org"])
def test_the_rest_is_left_to_idna(host: str) -> None:
    assert for_lookup(host) == host


@pytest.mark.process
def test_an_address_is_looked_up_without_idna() -> None:
    done = subprocess.run(
        (sys.executable, "-c", PROGRAM), cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr
