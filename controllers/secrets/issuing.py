"""Certificates that an agent has issued: by the process of an errand, for it happens twice a day.

The library that issues certificates is 2.5 MB of memory, which the agent does not keep for it. `errands` is the other
end.
"""

import datetime
import json
from typing import Any

from nodespan.controllers.secrets.errors import AccidentError, CertificateError, NoProcessError
from nodespan.controllers.secrets.key_pair import KeyPair
from nodespan.resources.secrets import CertificateAndKey, CertSANSpec
from nodespan.runtime.process.errand import Errand, ErrandAccidentError, ErrandError
from nodespan.runtime.process.errand_runner import ErrandRefusedError

# A text, for importing the module is what an agent has done elsewhere.
_ERRANDS = "nodespan.controllers.secrets.errands"


async def issue(
    errand: Errand, authority: CertificateAndKey, sans: CertSANSpec, role: str, now: datetime.datetime
) -> tuple[KeyPair, KeyPair]:
    """A certificate for a server of these names, and one for itself as a client with a role.

    Raises CertificateError for an authority that cannot issue, and NoProcessError if it could not be tried: for an
    accident of the process its kind AccidentError.
    """
    answer = await _asked(
        errand,
        "issue",
        authority={"crt": authority.crt, "key": authority.key},
        name=sans.fqdn,
        addresses=sans.ips,
        names=sans.dns_names,
        roles=[role],
        now=now.isoformat(),
    )
    return _pair(answer["server"]), _pair(answer["client"])


async def prepare(errand: Errand, sans: CertSANSpec) -> tuple[bytes, bytes]:
    """A request for the certificate of a server of these names, and its key, both as PEM. Raises as `issue` does."""
    answer = await _asked(errand, "prepare", name=sans.fqdn, addresses=sans.ips, names=sans.dns_names)
    return answer["request"].encode(), answer["key"].encode()


async def check(errand: Errand, pair: KeyPair, authority: str) -> None:
    """Raise CertificateError unless the key belongs to the certificate and this authority (PEM) has signed it.

    Raises NoProcessError if it could not be tried.
    """
    try:
        given = {"crt": pair.certificate.decode("ascii"), "key": pair.key.decode("ascii")}
    except UnicodeDecodeError as error:
        raise CertificateError("holds other characters than PEM has") from error
    await _asked(errand, "check", authority=authority, **given)


async def _asked(errand: Errand, function: str, /, **given: Any) -> dict[str, Any]:
    try:
        answer = json.loads(await errand(f"{_ERRANDS}:{function}", json.dumps(given).encode()))
    except ErrandRefusedError as error:
        raise CertificateError(str(error)) from error
    except ErrandAccidentError as error:
        raise AccidentError(str(error)) from error
    except ErrandError as error:
        raise NoProcessError(str(error)) from error
    assert isinstance(answer, dict)
    return answer


def _pair(texts: dict[str, str]) -> KeyPair:
    return KeyPair(texts["crt"].encode(), texts["key"].encode())
