"""`python -m deploy.release`: everything of a release, in a directory: `make release`.

A release is a commit: what is built is the commit in a directory of its own, where no file of the checkout's can slip
in. The wheel is built from the sdist, so that the sdist is known to be whole. Nothing is uploaded, and nothing is left
in the directory of a release that failed.
"""

import argparse
import ctypes
import errno
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from deploy.epoch import PROJECT
from deploy.errors import BuildError

ARCHITECTURES = ("amd64", "arm64")
SUMS = "SHA256SUMS"
_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_HEADING = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\S+))?[ \t]*$", re.MULTILINE)
_SDIST = "import sys; from hatchling.build import build_sdist; print(build_sdist(sys.argv[1]))"
_WHEEL = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def main(arguments: list[str] | None = None) -> int:
    """Build a release; prints the path of each file."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.release", description="Build all files of the release of this commit."
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=PROJECT / "dist", help="where its directory is made (dist)"
    )
    parser.add_argument("--cache", metavar="DIR", type=Path, default=PROJECT / ".cache/deploy", help="(.cache/deploy)")
    parser.add_argument("--check", action="store_true", help="only look whether this commit could be released")
    options = parser.parse_args(arguments)
    try:
        version = check(PROJECT)
        if options.check:
            print(f"{version} can be released")
            return 0
        for path in release(PROJECT, version, output=options.output, cache=options.cache.resolve()):
            print(path)
    except BuildError as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    return 0


def check(project: Path) -> str:
    """The version that the commit of this checkout releases. Raises BuildError with all that keeps it from that."""
    if changed := git(project, "status", "--porcelain").splitlines():
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        names = ", ".join(line[3:] for line in changed[:3])
        raise BuildError(f"the tree has changes that are not committed: {names}{more}")
    version: str = tomllib.loads((project / "pyproject.toml").read_text())["project"]["version"]
    faults = [*changelog_faults((project / "CHANGELOG.md").read_text(), version)]
    tagged = git(project, "tag", "--list", f"v{version}").strip()
    if tagged and git(project, "rev-list", "-1", tagged) != git(project, "rev-parse", "HEAD"):
        faults.append(f"the tag {tagged} is on another commit: a version is released once")
    if faults:
        raise BuildError("\n".join([f"{version} cannot be released:", *faults]))
    return version


def changelog_faults(text: str, version: str) -> Iterable[str]:
    """What is wrong with a change log for the release of a version."""
    found = [*_HEADING.finditer(text)]
    names = [each["name"] for each in found]
    if names[:1] != ["Unreleased"]:
        yield 'CHANGELOG.md: the first heading has to be "## [Unreleased]"'
        return
    ends = [*(each.start() for each in found[1:]), len(text)]
    if text[found[0].end() : ends[0]].strip():
        yield f'CHANGELOG.md: what stands under "Unreleased" belongs under "## [{version}] - DATE"'
    if names[1:2] != [version]:
        yield f'CHANGELOG.md: the heading after "Unreleased" has to be "## [{version}] - DATE"'
    elif not re.fullmatch(r"\d{4}-\d{2}-\d{2}", found[1]["date"] or ""):
        yield f'CHANGELOG.md: the heading of {version} has no date: write it like "## [{version}] - 2026-01-02"'
    elif not text[found[1].end() : ends[1]].strip():
        yield f"CHANGELOG.md: nothing stands under {version}"


def release(project: Path, version: str, *, output: Path, cache: Path) -> list[Path]:
    """Build everything from the commit of a checkout, in a directory of the version's. Blocks for minutes.

    Raises BuildError; then nothing of it is there, and what was there before is.
    """
    epoch = int(git(project, "log", "-1", "--format=%ct"))
    with tempfile.TemporaryDirectory() as work:
        made, source = Path(work, "made"), Path(work, "source")
        made.mkdir()
        _export(project, source)
        run = _Runner(source, epoch)
        sdist = made / run.python("-c", _SDIST, str(made))
        with tarfile.open(sdist) as archive:
            _unpack(archive, Path(work))
        _Runner(Path(work) / sdist.name.removesuffix(".tar.gz"), epoch).python("-c", _WHEEL, str(made))
        for architecture in ARCHITECTURES:
            kept = ("--output", str(made), "--cache", str(cache), "--architecture", architecture)
            run.python("-m", "deploy", "deb", "rpm", *kept)
        (made / f"nodespan-{version}.cdx.json").write_text(_bill(version, epoch, cache))
        (made / SUMS).write_text(sums(made.iterdir()))
        return put(made, output / version)


def put(made: Path, target: Path) -> list[Path]:
    """Have a directory with these files and no others, all at once; returns their paths. Raises BuildError.

    Killed at any moment, it leaves the release of before or this one: the two change places, and the old one goes then.
    """
    staging, aside = target.with_name(f".{target.name}.new"), _aside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Of one that was killed.
        if aside.exists() and not target.exists():
            aside.rename(target)
        for left in (staging, aside):
            if left.exists():
                shutil.rmtree(left)
        try:
            shutil.copytree(made, staging)
            if target.exists():
                exchange(staging, target)
            else:
                staging.rename(target)
        finally:
            if staging.exists():
                shutil.rmtree(staging)
    except OSError as error:
        raise BuildError(f"the release cannot be put into {target}: {error}") from error
    return sorted(target.iterdir())


def exchange(one: Path, other: Path) -> None:
    """Let two directories change their names, in one step where the file system can do that. Raises OSError."""
    if _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(number, os.strerror(number), str(one), None, str(other))
    # In three steps, and both are whole at each. Killed after the first, it leaves `other` aside, for the next `put`.
    aside = _aside(other)
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def sums(files: Iterable[Path]) -> str:
    """The digests of files, as `sha256sum --check` reads them."""
    return "".join(f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(files))


def _bill(version: str, epoch: int, cache: Path) -> str:
    from deploy import sbom, wheels

    return sbom.bill(version, epoch, sbom.parts(wheels.fetch(cache, ARCHITECTURES[0])))


def _export(project: Path, target: Path) -> None:
    """The files of the commit."""
    done = subprocess.run(("git", "-C", str(project), "archive", "HEAD"), capture_output=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"git archive: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        _unpack(archive, target)


def _unpack(archive: tarfile.TarFile, target: Path) -> None:
    # Not `extractall(filter=)`, which came with 3.11.4: Debian 12 has 3.11.2. There nothing filters.
    archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
    archive.extractall(target)  # noqa: S202 (both archives are of our own making)


class _Runner:
    """Runs this Python in a tree, whose own modules it imports, at the one time of the release."""

    def __init__(self, tree: Path, epoch: int) -> None:
        self._tree = tree
        self._environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}

    def python(self, *arguments: str) -> str:
        """The last line that it prints. Raises BuildError."""
        done = subprocess.run(
            (sys.executable, *arguments),
            cwd=self._tree,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BuildError(f"{arguments[1]}: {(done.stderr or done.stdout).strip()}")
        return done.stdout.splitlines()[-1]


def git(project: Path, *arguments: str) -> str:
    """What git says of a checkout. Raises BuildError."""
    try:
        done = subprocess.run(("git", "-C", str(project), *arguments), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BuildError("git is missing: a release is made from a commit") from error
    if done.returncode != 0:
        raise BuildError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
