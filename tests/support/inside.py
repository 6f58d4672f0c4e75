"""Another machine within this one, as tests see it: what runs there, and every file that an agent might change."""

import json
import subprocess
import sys

import attrs

from tests.support.netns import execute

# As shell: a few authorities will do, for no keystores with the time in them, and as the tool would leave everything.
# The others go first, for the tool takes seconds to remove them one by one. Without any it keeps the bundle.
FEW_AUTHORITIES = """\
rm -f /etc/ca-certificates/update.d/*
if few=$(grep --no-messages --max-count=3 "^[^#!]" /etc/ca-certificates.conf); then
    echo "$few" > /etc/ca-certificates.conf &&
    find /etc/ssl/certs -maxdepth 1 -type l -delete && update-ca-certificates --fresh > /dev/null || exit 1
fi
"""
# Every file, link and directory that is within reach of the tests.
_TREE = """\
import hashlib, json, os
found = {}
for place in ("/etc", "/usr/local/share/ca-certificates"):
    for directory, names, files in os.walk(place):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else ""
            if os.path.isfile(path) and not content:
                content = hashlib.sha256(open(path, "rb").read()).hexdigest()
            found[path] = [content, status.st_mode, status.st_uid, status.st_gid]
print(json.dumps(found))
"""


@attrs.frozen
class Inside:
    """The machine; `wrapper` is what to put before a command to have it run there.

    Where that is enough, `process` is one whose mount and UTS namespaces it is, and `variables` are what commands get.
    """

    wrapper: tuple[str, ...]
    process: int = attrs.field(default=0, kw_only=True)
    variables: dict[str, str] = attrs.field(factory=dict, kw_only=True)

    def run(self, *command: str) -> str:
        """What a command prints there. Blocks; errors as in `Namespace.run`."""
        return execute(*self.wrapper, *command)

    def succeeds(self, *command: str) -> bool:
        """Whether a command succeeds there. Blocks."""
        return subprocess.run((*self.wrapper, *command), capture_output=True).returncode == 0

    def read(self, path: str) -> str:
        """A file there. Blocks."""
        return self.run("cat", path)

    def tree(self) -> dict[str, list[object]]:
        """Every file, link and directory that the agent might change. Blocks."""
        found: dict[str, list[object]] = json.loads(self.run(sys.executable, "-c", _TREE))
        return found
