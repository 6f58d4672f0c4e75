"""The wheels of the dependencies: those of the lock file, for every supported version of Python."""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from deploy.errors import BuildError

LOCK = Path(__file__).with_name("requirements.txt")
PYTHONS = ("3.11", "3.12", "3.13")
# What Debian 12, the oldest of the targets, can load.
_GLIBC = ("2_34", "2_28", "2_17")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Of the dependencies, what only their own tests and their packaging need.
_LEFT_OUT = re.compile(
    r"(^trio/_tests/|^trio/_tools/|/tests?/|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$)"
)
_ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: \\\n    --hash=sha256:[0-9a-f]{64})+", re.MULTILINE)

_DIGEST = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def locked() -> dict[str, str]:
    """The pinned version of each dependency."""
    return {match[1]: match[2] for match in _ENTRY.finditer(LOCK.read_text())}


def locked_digests() -> dict[str, tuple[str, ...]]:
    """The digests (SHA-256) of the wheels of each dependency."""
    return {match[1]: tuple(_DIGEST.findall(match[0])) for match in _ENTRY.finditer(LOCK.read_text())}


def fetch(cache: Path, architecture: str) -> list[Path]:
    """The wheels, sorted, fetched unless they are in the cache. Blocks on the network. Raises BuildError."""
    text = LOCK.read_text()
    directory = cache / f"wheels-{architecture}-{sha256(text.encode()).hexdigest()[:16]}"
    if not directory.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            place = Path(work, "wheels")
            oldest, *others = PYTHONS
            _download(text, place, architecture, oldest)
            # Of these there is one for each version; all others serve every version.
            bound = {wheel.name.partition("-")[0] for wheel in place.iterdir() if _is_bound(wheel)}
            wanted = "\n".join(entry[0] for entry in _ENTRY.finditer(text) if entry[1].replace("-", "_") in bound)
            for version in others:
                _download(wanted, place, architecture, version)
            try:
                place.rename(directory)
            except OSError:
                if not directory.is_dir():  # else another build was faster
                    raise
    return sorted(directory.glob("*.whl"))


def unpack(wheel: Path, directory: Path) -> None:
    """Unpack a wheel; files that several builds of one distribution have in common are written once."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.is_dir() or _LEFT_OUT.search(entry.filename):
                continue
            target = directory / entry.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                with archive.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)


def _is_bound(wheel: Path) -> bool:
    """Whether it is for one version of Python: cp311-cp311, not cp311-abi3 or py3-none."""
    _, python, abi, _ = wheel.stem.rsplit("-", 3)
    return python == abi


def _download(requirements: str, place: Path, architecture: str, version: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--dest", str(place), "--requirement", file.name]
        command += _target(architecture, version)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"the dependencies for Python {version} cannot be fetched: {done.stderr.strip()}")


def _target(architecture: str, version: str) -> Iterator[str]:
    """The options of pip that name another machine than this one."""
    yield from ("--python-version", version, "--implementation", "cp")
    for glibc in _GLIBC:
        yield from ("--platform", f"manylinux_{glibc}_{_MACHINES[architecture]}")
    yield from ("--platform", f"manylinux2014_{_MACHINES[architecture]}")


def target(architecture: str, version: str) -> list[str]:
    """The same, for the lock."""
    return list(_target(architecture, version))
