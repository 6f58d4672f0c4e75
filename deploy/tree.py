"""The files of a package, in a directory, where and as they are on a machine that has it."""

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs

from deploy import wheels
from deploy.epoch import PROJECT
from deploy.errors import BuildError

HERE = Path(__file__).parent
# The program and its dependencies: not on the import path of anything but the launchers.
LIBRARY = "usr/lib/nodespan"
_PROGRAMS = {"nodespan": "main", "get-resources": "get_resources"}
UNITS = ("nodespan.service", "nodespan-discovery.service", "nodespan-relay.service")
_DOCUMENTS = ("README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE")
_WHEEL = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
_COMMAND = "import sys; from nodespan.runtime.cli import main; sys.exit(main())"
# What parsers show as defaults must not depend on who builds.
_ENVIRONMENT = {
    "NODESPAN_STATE_DIR": "/var/lib/nodespan",
    "NODESPAN_SOCKET": "/run/nodespan/agent.sock",
    "COLUMNS": "80",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
}


@attrs.frozen(kw_only=True)
class Release:
    """What is built. `epoch` is the time of every file; `fast` saves compression."""

    version: str
    architecture: str
    epoch: int
    fast: bool = False


def project_version() -> str:
    """As pyproject.toml says."""
    version: str = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    return version


def stage(root: Path, release: Release, *, cache: Path) -> None:
    """Fill a new directory with the files of a package. Blocks for seconds. Raises BuildError."""
    library = root / LIBRARY
    library.mkdir(parents=True)
    for wheel in (*wheels.fetch(cache, release.architecture), _own_wheel(root.parent, release)):
        wheels.unpack(wheel, library)
    for program, function in _PROGRAMS.items():
        _write(
            root / "usr/bin" / program,
            (HERE / "launcher.py").read_text().replace("import main", f"import {function} as main"),
            0o755,
        )
    _write(library / "leave.sh", (HERE / "leave.sh").read_text())
    for unit in UNITS:
        _write(root / "usr/lib/systemd/system" / unit, (HERE / "systemd" / unit).read_text())
    _write(root / "usr/lib/sysusers.d/nodespan.conf", (HERE / "systemd/sysusers.conf").read_text())
    _write(root / "usr/lib/tmpfiles.d/nodespan.conf", (HERE / "systemd/tmpfiles.conf").read_text())
    for shell, path in {
        "bash": "usr/share/bash-completion/completions/nodespan",
        "zsh": "usr/share/zsh/vendor-completions/_nodespan",
        "fish": "usr/share/fish/vendor_completions.d/nodespan.fish",
    }.items():
        _write(root / path, _run("-c", _COMMAND, "completion", shell))
    (root / "usr/share/bash-completion/completions/get-resources").symlink_to("nodespan")
    with tempfile.TemporaryDirectory() as pages:
        _run("-m", "deploy.manual", pages)
        for page in Path(pages).iterdir():
            _write(root / "usr/share/man/man1" / f"{page.name}.gz", _gzip(page.read_bytes()))
    (root / "usr/share/man/man1/get-resources.1.gz").symlink_to("nodespan-get.1.gz")
    documents = root / "usr/share/doc/nodespan"
    for name in _DOCUMENTS:
        _write(documents / name, (PROJECT / name).read_text())
    for document in sorted((PROJECT / "docs").rglob("*.md")):
        _write(documents / document.relative_to(PROJECT), document.read_text())
    _write(documents / "examples/config.yaml", (HERE / "config.example.yaml").read_text())
    _write(documents / "examples/daemonset.yaml", (HERE / "container/daemonset.yaml").read_text())
    for what, name in {"alerts": "alerts.yaml", "dashboard": "dashboard.json"}.items():
        _write(root / "usr/share/nodespan/monitoring" / name, _run("-c", _COMMAND, "gen", what))
    (root / "etc/nodespan").mkdir(parents=True)
    _settle(root, release.epoch)


def entries(root: Path) -> Iterator[Path]:
    """Everything below a directory, in one order."""
    return iter(sorted(root.rglob("*")))


def _own_wheel(directory: Path, release: Release) -> Path:
    """The wheel of this tree, with the version of the release."""
    work = directory / "wheel"
    work.mkdir()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch)}
    done = subprocess.run(
        (sys.executable, "-c", _WHEEL, str(work)),
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"the wheel cannot be built: {done.stderr.strip()}")
    return work / done.stdout.splitlines()[-1]


def _run(*arguments: str) -> str:
    done = subprocess.run(
        (sys.executable, *arguments), cwd=PROJECT, env=_ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _settle(root: Path, epoch: int) -> None:
    """Modes and times that depend on neither the builder's umask nor the clock."""
    for path in (root, *entries(root)):
        if not path.is_symlink():
            is_program = path.parent.name == "bin" and path.is_file()
            path.chmod(0o755 if path.is_dir() or is_program else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    (root / "etc/nodespan").chmod(0o700)


def copy(tree: Path, target: Path) -> None:
    """The tree once more, with times and links as they are."""
    shutil.copytree(tree, target, symlinks=True)
