"""Equinix Metal: an elastic IP is assigned to one device. The earlier assignment is removed before the next is made."""

import ipaddress
import json
import random
import re
from typing import Any

from nodespan.controllers.network.vip.clouds.api import (
    Access,
    CloudAPI,
    CloudError,
    Dialect,
    Failure,
    Permit,
    field,
    metadata,
    no_permit,
    optional,
)
from nodespan.controllers.network.vip.clouds.endpoints import Endpoints
from nodespan.resources.network import VIPEquinixMetalSpec

_NAME = "Equinix Metal"
# Ids become parts of paths.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


def _failure(content: Any) -> Failure:
    if not isinstance(content, dict):
        return Failure()
    errors = content.get("errors")
    texts = [str(error) for error in errors if error] if isinstance(errors, list) else []
    return Failure(message="; ".join(texts) or str(content.get("error") or ""))


_DIALECT = Dialect(
    name=_NAME,
    authorize=lambda token: {"X-Auth-Token": token},
    headers={"X-Consumer-Token": "talos", "User-Agent": "nodespan"},
    failure=_failure,
    again_statuses=(429, 502, 503, 504),
)


class EquinixMetal:
    """A virtual IP at Equinix Metal."""

    def __init__(
        self,
        ip: str,
        spec: VIPEquinixMetalSpec,
        endpoints: Endpoints,
        access: Access,
        source: random.Random | None = None,
    ) -> None:
        self._ip = ipaddress.ip_address(ip)
        self._api = CloudAPI(endpoints.equinix_metal, spec.api_token, _DIALECT, access=access, random=source)
        self._endpoints = endpoints
        self._access = access
        self._device = spec.device_id
        self._project = spec.project_id
        # The id of this node's own assignment, "" for none.
        self._assignment = ""

    async def resolve(self) -> None:
        """See `Cloud`."""
        if not self._device:
            url = self._endpoints.equinix_metal_metadata
            self._device = _id(_read(await metadata(url, _NAME, access=self._access())), "id")
        if not self._project:
            device = await self._api.get(f"devices/{self._device}", include="project,facility")
            self._project = _id(device, "project", "id")

    async def acquire(self, permit: Permit) -> None:
        """See `Cloud`."""
        assignments = await self._assignments()
        if self._assignment and assignments == {self._assignment}:
            return
        self._assignment = ""
        for assignment in sorted(assignments):
            await self._api.delete(f"ips/{assignment}", permit)
        answer = await self._api.post(f"devices/{self._device}/ips", {"address": str(self._ip)}, permit)
        self._assignment = _id(answer, "id")

    async def is_ours(self) -> bool:
        """See `Cloud`."""
        return bool(self._assignment) and self._assignment in await self._assignments()

    async def release(self) -> None:
        """See `Cloud`."""
        if self._assignment:
            await self._api.delete(f"ips/{self._assignment}", no_permit)
            self._assignment = ""

    async def _assignments(self) -> set[str]:
        """The ids of the assignments of the address, to whichever device."""
        answer = await self._api.get(f"projects/{self._project}/ips")
        found: set[str] = set()
        for entry in field(answer, list, "ip_addresses"):
            if not _is_same(optional(entry, str, "address") or "", self._ip):
                continue
            for assignment in optional(entry, list, "assignments") or ():
                found.add(_checked(field(assignment, str, "href").rstrip("/").rpartition("/")[2], "href"))
        return found


def _is_same(text: str, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return ipaddress.ip_address(text) == ip
    except ValueError:
        return False


def _read(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CloudError(f"the metadata service of {_NAME} does not tell which device this is") from error


def _id(data: Any, *keys: str) -> str:
    return _checked(field(data, str, *keys), ".".join(keys))


def _checked(id: str, what: str) -> str:
    if not _ID.fullmatch(id):
        raise CloudError(f"{what} of the answer of {_NAME} is not an id")
    return id
