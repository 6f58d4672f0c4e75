"""The bill of materials of a package in the form of CycloneDX: what of other people's is in it.

That is the Python distributions of the lock file, with the digests of their wheels and their licences; what is linked
into these (OpenSSL), as the bills say that lie in the wheels (PEP 770); and the libraries of the dashboard, which lie
in the tree. Two of one release have the same bytes.
"""

import datetime
import json
import re
import tomllib
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import attrs
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

from deploy import wheels
from deploy.epoch import PROJECT
from deploy.errors import BuildError

_PROJECT_FILE = PROJECT / "pyproject.toml"
_VENDORED = PROJECT / "controllers/dashboard/static/vendor/vendored.json"
# Of the name of a release, so that the number of its bill is always the same.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://example.org/nodespan")
_CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}

_WRITTEN = {"3-Clause BSD License": "BSD-3-Clause", "Apache License 2.0": "Apache-2.0", "MIT License": "MIT"}


@attrs.frozen(kw_only=True)
class Part:
    """One piece of software, and its licence as its authors write it.

    It needs other distributions, by their names, and holds what is linked into it. `direct` is what nodespan itself
    needs.
    """

    name: str
    version: str
    kind: str
    license: str
    ref: str
    url: str = ""
    digests: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    holds: tuple["Part", ...] = ()
    direct: bool = False


@attrs.frozen
class _Wheel:
    metadata: Message
    holds: tuple[Part, ...]


def parts(fetched: Iterable[Path]) -> list[Part]:
    """The parts of a package that is made from these wheels, and from this tree; sorted. Blocks on the disk."""
    digests = wheels.locked_digests()
    described: dict[str, list[_Wheel]] = {}
    for path in sorted(fetched):
        name, wheel = _described(path)
        described.setdefault(name, []).append(wheel)
    project = tomllib.loads(_PROJECT_FILE.read_text())["project"]
    direct = {normalized(Requirement(text).name) for text in project["dependencies"]}
    found = []
    for locked, version in wheels.locked().items():
        name = normalized(locked)
        builds = described[name]
        held = {part.ref: part for build in builds for part in build.holds}
        found.append(
            Part(
                name=name,
                version=version,
                kind="pypi",
                license=_license(builds[-1].metadata),
                ref=f"pypi:{name}",
                digests=digests[locked],
                needs=frozenset(_required(builds[-1].metadata)) & set(described),
                holds=tuple(held[ref] for ref in sorted(held)),
                direct=name in direct,
            )
        )
    return sorted([*found, *vendored(json.loads(_VENDORED.read_text()))], key=lambda part: (part.kind, part.name))


def vendored(listed: Iterable[Mapping[str, Any]]) -> Iterator[Part]:
    """The parts that lie in the tree."""
    for each in listed:
        name = each["name"]
        yield Part(
            name=name,
            version=each["version"],
            kind="npm",
            license=each["license"],
            ref=f"npm:{name}",
            direct=True,
        )


def held(bill: Mapping[str, Any]) -> Iterator[Part]:
    """The parts that a bill in a wheel lists. Raises BuildError for another form than CycloneDX."""
    if bill.get("bomFormat") != "CycloneDX":
        raise BuildError("a bill of materials in a form that is not CycloneDX")
    for each in bill.get("components", ()):
        url = each.get("purl", "")
        kind = PackageURL.from_string(url).type if url else "generic"
        name, version = each["name"], each.get("version", "")
        yield Part(
            name=name,
            version=version,
            kind=kind,
            license=_license_of(each),
            # Two wheels may hold the same in different versions.
            ref=f"{kind}:{name}@{version}",
            url=url,
            digests=tuple(hash["content"] for hash in each.get("hashes", ()) if hash["alg"] == "SHA-256"),
        )


def _license_of(component: Mapping[str, Any]) -> str:
    found = []
    for choice in component.get("licenses", ()):
        license = choice.get("license", {})
        found.append(choice.get("expression") or license.get("id") or license.get("name") or "")
    return found[0] if len(found) == 1 else " AND ".join(f"({each})" for each in found)


def bill(version: str, epoch: int, found: Iterable[Part]) -> str:
    """The document, as JSON, for packages of a version that were made from these parts."""
    licenses = LicenseFactory()
    own = Component(
        name="nodespan",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref="nodespan",
        licenses=[licenses.make_from_string("Apache-2.0")],
        purl=PackageURL("pypi", None, "nodespan", version),
    )
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, version))
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(epoch, datetime.UTC)
    bom.metadata.component = own
    known = {each.ref: each for part in found for each in (part, *part.holds)}
    components = {ref: _component(part, licenses) for ref, part in known.items()}
    for ref, part in known.items():
        bom.components.add(components[ref])
        below = (*(f"pypi:{name}" for name in part.needs), *(each.ref for each in part.holds))
        bom.register_dependency(components[ref], [components[each] for each in below])
    bom.register_dependency(own, [components[ref] for ref, part in known.items() if part.direct])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _component(part: Part, licenses: LicenseFactory) -> Component:
    scope, _, name = part.name.rpartition("/")
    return Component(
        name=part.name,
        version=part.version,
        type=ComponentType.LIBRARY,
        bom_ref=part.ref,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in part.digests],
        licenses=[licenses.make_from_string(part.license)] if part.license else [],
        purl=PackageURL.from_string(part.url) if part.url else PackageURL(part.kind, scope or None, name, part.version),
    )


def normalized(name: str) -> str:
    """The name of a Python distribution in its one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _described(wheel: Path) -> tuple[str, _Wheel]:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = HeaderParser().parsestr(archive.read(path).decode())
        bills = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/sboms/.*[^/]", name)]
        holds: list[Part] = []
        for name in sorted(bills):
            try:
                holds += held(json.loads(archive.read(name)))
            except (BuildError, ValueError, KeyError) as error:
                raise BuildError(f"{wheel.name}: {name} cannot be read: {error!r}") from error
    return normalized(metadata["Name"]), _Wheel(metadata, tuple(holds))


def _required(metadata: Message) -> Iterator[str]:
    """What a distribution needs without extras, by the newest Python of the packages."""
    environment = {"python_version": wheels.PYTHONS[-1], "extra": "", "platform_python_implementation": "CPython"}
    for text in metadata.get_all("Requires-Dist") or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield normalized(requirement.name)


def _license(metadata: Message) -> str:
    """An expression of SPDX if there is one, else what the classifiers say, else the first line of the text."""
    if expression := metadata["License-Expression"]:
        return str(expression)
    names = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or () if "License ::" in line]
    if known := [_CLASSIFIED[name] for name in names if name in _CLASSIFIED]:
        return " OR ".join(sorted(known))
    text = str(metadata["License"] or "").partition("\n")[0].strip()
    return _WRITTEN.get(text, text)
