"""`nodespan init` on a machine whose disk takes nothing, or that lacks nft: named at once, and nothing is changed."""

import os
import subprocess
import sys

import pytest

from tests.support import probe

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 or probe.no_namespaces() is not None, reason="mounts need root"),
    pytest.mark.needs_program("unshare", "nft"),
]

INIT = (
    f"{sys.executable} -c 'import sys; from nodespan.runtime.cli import main; sys.exit(main())' init --no-api "
    "--config /mnt/etc/config.yaml --state-dir /mnt/state --socket /mnt/agent.sock"
)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ("mount -t tmpfs -o size=64k,mode=755 tmpfs /mnt", "takes no files: No space left on device; make room"),
        ("mount -t tmpfs -o ro tmpfs /mnt", "takes no files: Read-only file system; mount it writable"),
        ("mount -t tmpfs tmpfs /mnt; export PATH=/nowhere", "nft is missing, by which packets find the tunnels"),
    ],
)
def test_what_keeps_files_from_being_written_is_named_at_once(prepare: str, reason: str) -> None:
    listing = "/bin/ls -R /mnt | /bin/grep yaml || true"
    script = f'set -e; {prepare}; {INIT} || echo "status $?"; {listing}'
    done = subprocess.run(("unshare", "--mount", "--net", "sh", "-c", script), capture_output=True, text=True)
    assert "this machine is not ready, and nothing was changed:" in done.stderr
    assert reason in done.stderr
    assert done.stdout == "status 1\n"
