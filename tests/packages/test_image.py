"""The image, built from the Containerfile by buildah and run by crun as the DaemonSet says: `make test-packages`.

No registry is asked: the base is a root made from Debian's mirror. Both programs come out of their Debian packages
(.cache/containers), which are not installed.
"""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from ruamel.yaml import YAML

from deploy.tree import HERE
from tests.support.netns import Namespace, connect, namespace
from tests.support.packaged import NOW, build
from tests.support.probe import no_namespaces
from tests.support.process import eventually
from tests.support.roots import SLIM, root_of
from tests.support.systemd import PROJECT

ARCHIVES = PROJECT / ".cache/containers"
CONFIG = """\
machine:
  type: worker
  network:
    hostname: pod
    interfaces:
      - interface: eth0
        addresses: [192.0.2.1/24]
        routes: [{network: 198.51.100.0/24, gateway: 192.0.2.2}]
"""

pytestmark = [
    pytest.mark.soak,
    pytest.mark.needs_program("dpkg-deb"),
    pytest.mark.skipif(not any(ARCHIVES.glob("*.deb")), reason=f"{ARCHIVES} has no packages: see `make test-packages`"),
    pytest.mark.skipif(no_namespaces() is not None, reason=no_namespaces() or ""),
]


@attrs.frozen
class Tools:
    """buildah and crun, with directories of their own for everything that they keep."""

    programs: Path
    store: Path

    def buildah(self, command: str, *arguments: str | Path) -> str:
        """What it prints."""
        where = ("--root", self.store / "images", "--runroot", self.store / "run", "--storage-driver", "vfs")
        containers = self.programs / "etc/containers"
        policy = () if command in ("mount", "copy", "inspect") else ("--signature-policy", containers / "policy.json")
        done = subprocess.run(
            (self.programs / "usr/bin/buildah", *where, command, *policy, *arguments),
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "TMPDIR": str(self.store),
                "CONTAINERS_CONF": str(self.programs / "usr/share/containers/containers.conf"),
                "CONTAINERS_REGISTRIES_CONF": str(containers / "registries.conf"),
            },
        )
        assert done.returncode == 0, f"buildah {command}: {done.stderr}"
        return done.stdout.strip()

    def crun(self, *arguments: str | Path) -> str:
        """What it prints."""
        done = subprocess.run((*self.crun_command, *arguments), capture_output=True, text=True)
        assert done.returncode == 0, f"crun {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout.strip()

    @property
    def crun_command(self) -> tuple[str | Path, ...]:
        """What to put before its arguments. It makes no control groups, and still refuses to see any of version 1."""
        shown = ("unshare", "--mount", "sh", "-c", 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$0" "$@"')
        return (*shown, self.programs / "usr/bin/crun", "--root", self.store / "crun", "--cgroup-manager=disabled")


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    place = tmp_path_factory.mktemp("containers")
    for archive in ARCHIVES.glob("*.deb"):
        subprocess.run(("dpkg-deb", "--extract", archive, place / "programs"), check=True)
    (place / "store").mkdir()
    yield Tools(place / "programs", place / "store")
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def image(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the image, built as the Containerfile says."""
    base = tools.buildah("from", "scratch")
    tools.buildah("copy", base, root_of(SLIM), "/")
    tools.buildah("commit", base, "localhost/base")
    context = tmp_path_factory.mktemp("context")
    build(context, versions=[NOW])
    options = ("--isolation=chroot", "--pull=never", "--build-arg", "BASE=localhost/base")
    tools.buildah("build", *options, "-f", HERE / "container/Containerfile", "-t", "localhost/nodespan", context)
    return "localhost/nodespan"


def container() -> dict[str, Any]:
    """The container of the DaemonSet."""
    documents = list(YAML(typ="safe", pure=True).load_all((HERE / "container/daemonset.yaml").read_text()))
    (found,) = documents[1]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def bundle(place: Path, root: str, command: list[str], network: Namespace) -> dict[str, Path]:
    """Make a bundle of OCI for the container of the DaemonSet; returns the directories behind its mounts."""
    wanted = container()
    security = wanted["securityContext"]
    assert security["capabilities"]["drop"] == ["ALL"]
    held = [f"CAP_{name}" for name in security["capabilities"]["add"]]
    behind, mounts = {}, []
    for mount in wanted["volumeMounts"]:
        directory = place / mount["name"]
        directory.mkdir()
        behind[mount["name"]] = directory
        options = ["bind", "ro" if mount.get("readOnly") else "rw"]
        mounts.append({"destination": mount["mountPath"], "source": str(directory), "options": options})
    kernel = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
    ]
    kinds: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
    specification = {
        "ociVersion": "1.0.2",
        "root": {"path": root, "readonly": security["readOnlyRootFilesystem"]},
        "hostname": "node",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": command,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "noNewPrivileges": not security["allowPrivilegeEscalation"],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), held),
        },
        "mounts": [*kernel, *mounts],
        "linux": {
            "namespaces": [*kinds, {"type": "network", "path": str(network.path)}],
            "readonlyPaths": ["/proc/sys"],
        },
    }
    (place / "config.json").write_text(json.dumps(specification))
    return behind


@contextmanager
def started(tools: Tools, place: Path, log: Path) -> Iterator[str]:
    """The name of a container that runs for as long as the block."""
    name = place.name
    command = (*tools.crun_command, "run", "--bundle", place, name)
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            yield name
            tools.crun("kill", name, "TERM")
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()


async def test_the_image_runs_as_the_manifest_says(tools: Tools, image: str, tmp_path: Path) -> None:
    described = json.loads(json.loads(tools.buildah("inspect", "--type", "image", image))["Config"])["config"]
    command = [*described["Entrypoint"], *described["Cmd"]]
    assert command[1:] == container()["args"]
    root = tools.buildah("mount", tools.buildah("from", image))
    for present in ("usr/lib/nodespan/nodespan", "usr/sbin/nft", "etc/ssl/certs/ca-certificates.crt"):
        assert (Path(root) / present).exists(), present
    assert not any((Path(root) / "var/lib/apt/lists").glob("*Packages*"))
    with namespace("pod") as network, namespace("far") as far:
        connect(network, "eth0", far, "eth0")
        place = tmp_path / "pod"
        place.mkdir()
        behind = bundle(place, root, command, network)
        (behind["config"] / "config.yaml").write_text(CONFIG)
        (behind["config"] / "config.yaml").chmod(0o400)
        log = tmp_path / "log"
        with started(tools, place, log) as name:
            probe = functools.partial(tools.crun, "exec", name, *container()["readinessProbe"]["exec"]["command"])
            await eventually(lambda: "agent" in probe())
            await eventually(lambda: "192.0.2.1/24" in network.run("ip", "-brief", "address", "show", "eth0"))
            await eventually(lambda: "198.51.100.0/24 via 192.0.2.2" in network.run("ip", "route"))
            assert "192.0.2.1/24" in tools.crun("exec", name, "/usr/bin/nodespan", "get", "addresses")
            # The name is the node's, and so are its files: the agent says so and leaves them.
            assert tools.crun("exec", name, "/usr/bin/hostname") == "node"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert not [line for line in lines if line["level"] in ("error", "critical")], log.read_text()
        # What a pod leaves on its node: an identity for the next one; others may read certificates only.
        kept = {path.name: path.stat().st_mode & 0o777 for path in behind["state"].rglob("*") if path.is_file()}
        assert kept["node-identity.yaml"] == 0o600
        assert [name for name, mode in kept.items() if mode & 0o077 and not name.endswith(".crt")] == []
        assert "192.0.2.1/24" in network.run("ip", "-brief", "address", "show", "eth0")
