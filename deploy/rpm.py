"""An .rpm, by rpmbuild."""

import os
import shutil
import subprocess
from pathlib import Path

from deploy.errors import BuildError
from deploy.tree import HERE, Release, copy

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def build(tree: Path, release: Release, *, output: Path) -> Path:
    """Write the package; returns its path. Raises BuildError."""
    if shutil.which("rpmbuild") is None:
        raise BuildError(
            "rpmbuild is missing: install the package rpm (Debian) or rpm-build (Fedora), or build only deb"
        )
    work = tree.with_name("rpm")
    source = work / "source"
    work.mkdir()
    copy(tree, source)
    # Fedora's place for what zsh completes by.
    completions = source / "usr/share/zsh"
    (completions / "vendor-completions").rename(completions / "site-functions")
    for path in (completions / "site-functions", completions):
        os.utime(path, (release.epoch, release.epoch))
    architecture = _ARCHITECTURES[release.architecture]
    defines = {
        "_topdir": work,
        "source_tree": source,
        "nodespan_version": release.version,
        # The same bytes from every builder.
        "_buildhost": "localhost",
        "use_source_date_epoch_as_buildtime": 1,
        "clamp_mtime_to_source_date_epoch": 1,
        "source_date_epoch_from_changelog": 0,
        "_binary_payload": "w1.gzdio" if release.fast else "w6.xzdio",
    }
    options = [option for name, value in defines.items() for option in ("--define", f"{name} {value}")]
    done = subprocess.run(
        ("rpmbuild", "-bb", "--target", architecture, *options, str(HERE / "rpm/nodespan.spec")),
        env={**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        if done.returncode != 0:
            raise BuildError(f"rpmbuild: {done.stderr.strip()}")
        (built,) = work.glob("RPMS/*/*.rpm")
        target = output / built.name
        shutil.copyfile(built, target)
    finally:
        shutil.rmtree(work)
    return target
