"""Clean roots of distributions for tests: made once, from the distributions' mirrors, and kept in .cache/roots."""

import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import attrs
import pytest

from tests.support.systemd import PROJECT

ROOTS = PROJECT / ".cache/roots"
# What the package needs and suggests, so that its installation needs no network; and systemd.
PACKAGES = "systemd,systemd-sysv,dbus,python3,nftables,iproute2,ca-certificates,wireguard-go"
_DEBIAN = "http://deb.debian.org/debian"
_UBUNTU = "http://archive.ubuntu.com/ubuntu"
# Debian has no package with Ubuntu's key: it comes from Ubuntu's archive, and is taken by this fingerprint only.
_UBUNTU_KEYRING = f"{_UBUNTU}/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb"
_UBUNTU_KEY = "F6ECB3762474EDA9D21B7022871920D1991BC93C"
_PATIENCE = 60


@attrs.frozen
class Distribution:
    """A root: its name, the release and its mirror, and what is in it beyond the least."""

    name: str
    suite: str
    mirror: str = _DEBIAN
    components: str = "main"
    packages: str = PACKAGES


BOOKWORM, TRIXIE = Distribution("bookworm", "bookworm"), Distribution("trixie", "trixie")
NOBLE = Distribution("noble", "noble", _UBUNTU, "main universe")
# Debian has the package managers of Fedora and its relatives too.
WITH_RPM = Distribution("bookworm-rpm", "bookworm", packages=f"{PACKAGES},rpm,dnf")
# What images of containers begin with.
SLIM = Distribution("trixie-slim", "trixie", packages="")


def root_of(distribution: Distribution) -> Path:
    """The directory with the root; it is for reading. Skips the test if it cannot be made. Blocks for minutes."""
    found = ROOTS / distribution.name
    if not found.is_dir():
        if shutil.which("mmdebstrap") is None:
            pytest.skip("mmdebstrap is not installed")
        ROOTS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ROOTS) as work:
            new = Path(work, distribution.name)
            keyring = (_ubuntu_keyring(Path(work)),) if distribution.mirror == _UBUNTU else ()
            signed = f"[signed-by={keyring[0]}] " if keyring else ""
            source = f"deb {signed}{distribution.mirror} {distribution.suite} {distribution.components}"
            included = (f"--include={distribution.packages}",) if distribution.packages else ()
            command = ("mmdebstrap", "--variant=minbase", *included, distribution.suite, str(new), source)
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                pytest.skip(f"no root of {distribution.suite}: {done.stderr.strip().splitlines()[-1]}")
            new.rename(found)
    return found


def _ubuntu_keyring(directory: Path) -> Path:
    """A keyring with the one key of Ubuntu's archive."""
    package = directory / "keyring.deb"
    try:
        with urllib.request.urlopen(_UBUNTU_KEYRING, timeout=_PATIENCE) as answer:
            package.write_bytes(answer.read(1 << 20))
    except urllib.error.URLError as error:
        pytest.skip(f"Ubuntu's archive cannot be reached: {error.reason}")
    unpacked, key = directory / "unpacked", directory / "key.gpg"
    subprocess.run(("dpkg-deb", "--extract", package, unpacked), check=True)
    home = directory / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--quiet", "--no-autostart")
    (ring,) = unpacked.rglob("ubuntu-archive-keyring.gpg")
    subprocess.run((*gpg, "--import", ring), check=True, capture_output=True)
    subprocess.run((*gpg, "--output", key, "--export", _UBUNTU_KEY), check=True, capture_output=True)
    if not key.exists():
        raise AssertionError(f"{_UBUNTU_KEYRING} has no key {_UBUNTU_KEY}")
    return key
