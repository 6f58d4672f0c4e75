"""The environment, trusted certificates, and files of the host."""

import posixpath
import re
from collections.abc import Iterator

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at
from nodespan.controllers.config.rules.base import RuleSet, required
from nodespan.resources.config.host import (
    EnvironmentConfig,
    EtcFileConfig,
    TrustedRootsConfig,
)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOREIGN_ETC_FILES = frozenset(
    {"resolv.conf", "hosts", "machine-id", "os-release", "localtime", "extensions.yaml", "xattr.conf"}
)
_FOREIGN_ETC_DIRECTORIES = frozenset(
    [
        "ssl",
        "ca-certificates",
        "pki",
        "cni",
        "cri",
        "kubernetes",
        "apparmor",
        "apparmor.d",
        "iscsi",
        "lvm",
        "nvme",
        "selinux",
    ]
)

RULES = RuleSet()


@RULES.document(EnvironmentConfig)
def check_environment(environment: EnvironmentConfig) -> Iterator[Finding]:
    """EnvironmentConfig."""
    for name in environment.variables:
        if not _VARIABLE.fullmatch(name):
            message = f"{quote(name)} is not the name of a variable"
            yield _on_key("variables", name, message=message, hint="letters, digits and _, not starting with a digit")


def _on_key(*path: str, message: str, hint: str) -> Finding:
    return Finding(path=path, message=message, hint=hint, on_key=True)


@RULES.document(TrustedRootsConfig)
def check_trusted_roots(roots: TrustedRootsConfig) -> Iterator[Finding]:
    """TrustedRootsConfig."""
    yield from required(roots, ("name", roots.name), ("certificates", roots.certificates))


@RULES.document(EtcFileConfig)
def check_etc_file(file: EtcFileConfig) -> Iterator[Finding]:
    """EtcFileConfig: which files below /etc it may be."""
    path = posixpath.normpath(file.name) if file.name else ""
    first = path.partition("/")[0]
    if not path or path != file.name or path.startswith((".", "/")):
        yield at(
            "name",
            message=f"the name {quote(file.name)} must be a path below /etc",
            hint="write it relative to /etc, like apt/apt.conf, and not starting with a dot",
        )
    elif path in _FOREIGN_ETC_FILES or first in _FOREIGN_ETC_DIRECTORIES:
        yield at("name", message=f"/etc/{path} cannot be set here", hint="it belongs to another part of the system")
