"""What the dashboard shows that only this application knows: its files, and the configuration in effect."""

import functools
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import structlog
import trio

from nodespan.controllers.config.masked_text import mask_text
from nodespan.controllers.secrets.key_pair import roles_of_peer
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.runtime.api import protocol
from nodespan.runtime.api.browser.door import Rights
from nodespan.runtime.api.browser.site import Handler, Question
from nodespan.runtime.api.cosi.roles import ADMIN, READERS
from nodespan.runtime.api.local_client import RefusedRequestError
from nodespan.runtime.certificate import CertificateFormatError, read_first


def static_files() -> Traversable:
    """The files that browsers load."""
    return files("nodespan.controllers.dashboard") / "static"


async def config(question: Question) -> object:
    """The configuration in effect, its secrets as stars; the agent refuses it to readers."""
    request = {"call": "get", "type": MachineConfig.name, "namespace": MachineConfig.kind.namespace, "selectors": []}
    try:
        answers = await question.ask(**request, id=MACHINE_CONFIG_ID, watch=False, form="data")
    except RefusedRequestError as error:
        if error.code == protocol.NOT_FOUND:
            return {"text": None}
        raise
    text = next(answer["resource"]["spec"] for answer in answers if "resource" in answer)
    return {"text": await trio.to_thread.run_sync(mask_text, text)}


HANDLERS: Final[dict[str, Handler]] = {"config": config}


@functools.lru_cache(maxsize=1024)
def rights_of(certificate: bytes) -> Rights | None:
    """What the client with this certificate (DER) may see, by its roles; of one that cannot be read the log says so."""
    try:
        roles = frozenset(roles_of_peer(certificate))
    except CertificateFormatError as error:
        structlog.get_logger("dashboard").warning("the certificate of a client cannot be read", reason=str(error))
        return None
    if ADMIN in roles:
        return Rights.ALL
    return Rights.READER if roles & READERS else None


def names_of(certificate: bytes) -> tuple[str, ...]:
    """The names that a server's certificate (PEM) is for. Raises ValueError."""
    return read_first(certificate).dns_names
