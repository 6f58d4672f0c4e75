"""A .deb, by dpkg-deb."""

import os
import platform
import shutil
import subprocess
from hashlib import md5
from pathlib import Path

from deploy.errors import BuildError
from deploy.tree import HERE, Release, copy, entries

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_SCRIPTS = ("postinst", "prerm", "postrm")


def own_architecture() -> str:
    """The architecture of this machine, in Debian's words."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def build(tree: Path, release: Release, *, output: Path) -> Path:
    """Write the package; returns its path. Raises BuildError."""
    if shutil.which("dpkg-deb") is None:
        raise BuildError("dpkg-deb is missing: install the package dpkg, or build only rpm")
    package = tree.with_name("deb")
    copy(tree, package)
    documents = package / "usr/share/doc/nodespan"
    (documents / "copyright").write_text((HERE / "debian/copyright").read_text())
    control = package / "DEBIAN"
    control.mkdir()
    sums, size = [], 0
    for path in entries(tree):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            size += -(-len(content) // 1024)
            sums.append(f"{md5(content, usedforsecurity=False).hexdigest()}  {path.relative_to(tree)}\n")
    (control / "md5sums").write_text("".join(sums))
    text = (HERE / "debian/control").read_text()
    for key, value in {"VERSION": f"{release.version}-1", "ARCHITECTURE": release.architecture, "SIZE": size}.items():
        text = text.replace(f"@{key}@", str(value))
    (control / "control").write_text(text)
    for script in _SCRIPTS:
        (control / script).write_text((HERE / "debian" / script).read_text())
    for path in (*control.iterdir(), documents / "copyright"):
        path.chmod(0o755 if path.name in _SCRIPTS else 0o644)
    control.chmod(0o755)
    for path in (control, *control.iterdir(), documents / "copyright", documents, package):
        os.utime(path, (release.epoch, release.epoch))
    target = output / f"nodespan_{release.version}-1_{release.architecture}.deb"
    how = ("-Znone",) if release.fast else ("-Zxz",)
    done = subprocess.run(
        ("dpkg-deb", "--root-owner-group", *how, "--build", str(package), str(target)),
        env={**os.environ, "SOURCE_DATE_EPOCH": str(release.epoch), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(package)
    if done.returncode != 0:
        raise BuildError(f"dpkg-deb: {done.stderr.strip()}")
    return target
