"""How programs are installed on this distribution, for those who lack one."""

import shutil

# Where the names of Fedora's packages differ from Debian's.
_FEDORA = {"iproute2": "iproute", "mount": "util-linux", "etcd-server": "etcd"}


def how_to_install(*packages: str) -> str:
    """The command that installs packages, given by their names in Debian."""
    if shutil.which("apt-get"):
        return f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("dnf"):
        return f"dnf install {' '.join(dict.fromkeys(_FEDORA.get(package, package) for package in packages))}"
    return f"install the packages {' '.join(packages)}"
