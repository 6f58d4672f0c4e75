"""How distributions add certificate authorities: a directory, and a program to run."""

import attrs

from nodespan.controllers.host.host import Host

# The bundles, for systems that have no such program.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@attrs.frozen(kw_only=True)
class Mechanism:
    """Files of one certificate each go to `directory`; then `command` rebuilds the bundle."""

    directory: str
    suffix: str
    command: tuple[str, ...]


_MECHANISMS = (
    # Debian, Ubuntu, Alpine, Gentoo. Removals are noticed only if all links are rebuilt.
    Mechanism(
        directory="/usr/local/share/ca-certificates", suffix=".crt", command=("update-ca-certificates", "--fresh")
    ),
    # Fedora, RHEL.
    Mechanism(directory="/etc/pki/ca-trust/source/anchors", suffix=".pem", command=("update-ca-trust", "extract")),
    # SUSE.
    Mechanism(directory="/etc/pki/trust/anchors", suffix=".pem", command=("update-ca-certificates",)),
    # Arch.
    Mechanism(directory="/etc/ca-certificates/trust-source/anchors", suffix=".crt", command=("update-ca-trust",)),
)


def find_mechanism(host: Host) -> Mechanism | None:
    """This machine's mechanism, None if it has none. Blocks."""
    for mechanism in _MECHANISMS:
        if host.exists(mechanism.directory) and host.has_program(mechanism.command[0]):
            return mechanism
    return None


def find_bundle(host: Host) -> str:
    """The bundle of this machine, "" if it has none. Blocks."""
    return next((path for path in _BUNDLES if host.exists(path)), "")
