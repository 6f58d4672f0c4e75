"""The bill of materials of a package in the form of CycloneDX: what of other people's is in it.

That is the Python distributions of the lock file, with the digests of their wheels and their licences, and the
libraries of the dashboard, which lie in the tree. Two of one release have the same bytes.
"""

import datetime
import json
import re
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
    """One piece of software, the parts that it needs by their names, and its licence as its authors write it."""

    name: str
    version: str
    kind: str
    license: str
    digests: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()


def parts(fetched: Iterable[Path]) -> list[Part]:
    """The parts of a package that is made from these wheels, and from this tree; sorted. Blocks on the disk."""
    digests = wheels.locked_digests()
    described = dict(map(_described, fetched))
    found = []
    for name, version in wheels.locked().items():
        metadata = described[normalized(name)]
        needs = frozenset(_required(metadata)) & {normalized(each) for each in described}
        found.append(
            Part(
                name=normalized(name),
                version=version,
                kind="pypi",
                license=_license(metadata),
                digests=digests[name],
                needs=needs,
            )
        )
    return sorted([*found, *vendored(json.loads(_VENDORED.read_text()))], key=lambda part: (part.kind, part.name))


def vendored(listed: Iterable[Mapping[str, Any]]) -> Iterator[Part]:
    """The parts that lie in the tree."""
    for each in listed:
        yield Part(name=each["name"], version=each["version"], kind="npm", license=each["license"])


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
    known = {part: _component(part, licenses) for part in found}
    by_name = {(part.kind, part.name): component for part, component in known.items()}
    needed = {name for part in known for name in part.needs}
    for part, component in known.items():
        bom.components.add(component)
        bom.register_dependency(component, [by_name["pypi", name] for name in part.needs])
    bom.register_dependency(own, [component for part, component in known.items() if part.name not in needed])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _component(part: Part, licenses: LicenseFactory) -> Component:
    scope, _, name = part.name.rpartition("/")
    return Component(
        name=part.name,
        version=part.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{part.kind}:{part.name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in part.digests],
        licenses=[licenses.make_from_string(part.license)] if part.license else [],
        purl=PackageURL(part.kind, scope or None, name, part.version),
    )


def normalized(name: str) -> str:
    """The name of a Python distribution in its one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _described(wheel: Path) -> tuple[str, Message]:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = HeaderParser().parsestr(archive.read(path).decode())
    return normalized(metadata["Name"]), metadata


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
