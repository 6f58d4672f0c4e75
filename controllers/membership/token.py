"""Tokens: what a machine needs to become part of a mesh, in one line that a double click selects.

An *invitation* names a control plane, the authority by which to know it, and a secret that the control plane takes once
or as often as it was told to: the secrets of the mesh come over TLS. An *offline* token holds those secrets itself: it
needs no control plane, and works until they are changed. Pure.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

import attrs

from nodespan.controllers.membership.machine_config import DiscoveryService, Mesh
from nodespan.controllers.secrets.key_pair import KeyPair, certificate_of
from nodespan.runtime.certificate import check_usable, pem_of, read_certificate

_PREFIX: Final = "nst1_"
_FORM = re.compile(r"nst1_[A-Za-z0-9_-]+")
# Larger ones are not of ours: they would only cost memory to unpack.
_LONGEST = 1 << 16
_UNPACKED = 1 << 18


class TokenError(ValueError):
    """The text is not a token. The text of the error shows nothing of it."""


@attrs.frozen(kw_only=True)
class Description:
    """A mesh as a new node gets to know it. `api` is where the API of its nodes listens, "" for nowhere."""

    mesh: Mesh
    api: str = ""


@attrs.frozen(kw_only=True)
class InvitationToken:
    """Ask one of these endpoints (HOST:PORT), whose certificate is of this authority (PEM), with this secret.

    `cluster_id` tells a machine that is a member already whether it is the same mesh.
    """

    endpoints: tuple[str, ...]
    authority: bytes
    cluster_id: str
    id: str
    secret: str = attrs.field(repr=False)


Token = InvitationToken | Description


def cluster_of(token: Token) -> str:
    """The id of the cluster that a token is for."""
    return token.cluster_id if isinstance(token, InvitationToken) else token.mesh.cluster_id


def encode(token: Token) -> str:
    """The token as a line."""
    if isinstance(token, InvitationToken):
        plain: dict[str, Any] = {
            "at": token.endpoints,
            "ca": _shortened(token.authority),
            "cluster": token.cluster_id,
            "id": token.id,
            "secret": token.secret,
        }
    else:
        plain = describe(token)
    packed = zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), 9)
    return _PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(text: str) -> Token:
    """The token in a line; white space around it, and line breaks of a mail within it, do not matter.

    Raises TokenError.
    """
    line = "".join(text.split())
    if not line:
        raise TokenError("there is no token: give the line that `nodespan token` prints on a node of the mesh")
    if not _FORM.fullmatch(line) or len(line) > _LONGEST:
        raise TokenError(f"this is not a token: one begins with {_PREFIX} and has letters, digits, _ and - only")
    packed = line.removeprefix(_PREFIX)
    try:
        unpack = zlib.decompressobj()
        raw = unpack.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), _UNPACKED)
        if not unpack.eof:
            raise TokenError("the token is cut off: copy the whole line")
        plain = json.loads(raw)
    except (zlib.error, ValueError) as error:
        if isinstance(error, TokenError):
            raise
        raise TokenError("the token is damaged: copy the whole line") from error
    try:
        return _invitation(plain) if "at" in plain else understand(plain)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TokenError("the token is of another version of nodespan: install the same one on both sides") from error


def describe(description: Description) -> dict[str, Any]:
    """A description as plain data; what has its default is left out."""
    mesh = description.mesh
    plain = {
        "name": mesh.cluster_name,
        "id": mesh.cluster_id,
        "secret": mesh.cluster_secret,
        "services": [[service.name, service.url] for service in mesh.services],
        "roots": [[name, text] for name, text in mesh.trusted_roots],
        "kubespan": mesh.kubespan,
        "harvest": mesh.harvest_extra_endpoints,
        "mtu": mesh.mtu,
        "excluded": mesh.exclude_advertised_networks,
        "relays": mesh.relays,
        "ca": _shortened(mesh.authority.certificate) if mesh.authority else "",
        "token": mesh.token,
        "api": description.api,
    }
    found = {key: value for key, value in plain.items() if value not in ("", None, [], ())}
    # No filters are another thing than filters that let nothing pass.
    return found if mesh.endpoint_filters is None else {**found, "endpoints": mesh.endpoint_filters}


def understand(plain: Mapping[str, Any]) -> Description:
    """The description in plain data. Raises KeyError, TypeError, ValueError for anything else."""
    mesh = Mesh(
        cluster_name=str(plain.get("name", "")),
        cluster_id=_text(plain["id"]),
        cluster_secret=_text(plain["secret"]),
        services=tuple(DiscoveryService(name=_text(name), url=_text(url)) for name, url in plain["services"]),
        trusted_roots=tuple((_text(name), _text(text)) for name, text in plain.get("roots", ())),
        kubespan=bool(plain.get("kubespan", True)),
        harvest_extra_endpoints=bool(plain.get("harvest", False)),
        mtu=int(plain["mtu"]) if "mtu" in plain else None,
        endpoint_filters=tuple(map(_text, plain["endpoints"])) if "endpoints" in plain else None,
        exclude_advertised_networks=tuple(map(_text, plain.get("excluded", ()))),
        authority=KeyPair(_lengthened(plain["ca"])) if "ca" in plain else None,
        token=_text(plain.get("token", "")),
        relays=tuple(map(_text, plain.get("relays", ()))),
    )
    return Description(mesh=mesh, api=_text(plain.get("api", "")))


def listening_everywhere(listen: str) -> str:
    """Where another node's API listens if this one's does here: at the same port, of all addresses."""
    return f"[::]:{listen.rpartition(':')[2]}" if listen else ""


def _invitation(plain: Mapping[str, Any]) -> InvitationToken:
    return InvitationToken(
        endpoints=tuple(map(_text, plain["at"])),
        authority=_lengthened(plain["ca"]),
        cluster_id=_text(plain["cluster"]),
        id=_text(plain["id"]),
        secret=_text(plain["secret"]),
    )


def _shortened(pem: bytes) -> str:
    """A certificate without the lines of PEM."""
    return base64.b64encode(certificate_of(pem).der).decode()


def _lengthened(text: object) -> bytes:
    certificate = read_certificate(base64.b64decode(_text(text), validate=True))
    check_usable(certificate)
    return pem_of(certificate.der)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a text")
    return value
