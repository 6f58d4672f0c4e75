"""`nodespan support`: one archive for a bug report, without secrets, which is listed before it is written."""

import argparse
import gzip
import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.options import socket_of
from nodespan.runtime.cli.overview import doctor
from nodespan.runtime.cli.overview.form import to_json
from nodespan.runtime.cli.overview.logs import log_of_agent
from nodespan.runtime.cli.overview.requests import get_request
from nodespan.runtime.cli.overview.status import data_of
from nodespan.runtime.cli.overview.surroundings import surroundings_of
from nodespan.runtime.cli.version import own_version
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.overview.check import Surroundings
from nodespan.runtime.overview.report import size
from nodespan.runtime.overview.secrets import Scrubber
from nodespan.runtime.overview.support import SupportFile, SupportPart, collect, load_parts
from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.whole_file import create_file

_MODE = 0o600
# A file of the archive is cut at its beginning: what happened last is at the end.
_LONGEST = 8 * 2**20


def support(options: argparse.Namespace) -> int:
    """Collect, list, ask, write. Raises CommandError."""
    surroundings = surroundings_of(options)
    now = time.time()
    name = archive_name(os.uname().nodename, now)
    files = collected(surroundings, parts(socket_of(options)))
    path = Path(options.output or f"{name}.tar.gz")
    if may_write(options, path, listed(files)):
        write(path, archive(name, files, now))
    return 0


def archive_name(subject: str, now: float) -> str:
    """The name of an archive about something, without the ending."""
    return f"nodespan-support-{plain(subject)}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}"


def listed(files: Iterable[SupportFile], folder: str = "") -> list[str]:
    """The lines that say what is in an archive."""
    return [f"{size(len(file.text.encode(errors='surrogatepass'))):>9}  {folder}{escaped(file.name)}" for file in files]


def may_write(options: argparse.Namespace, path: Path, lines: Sequence[str]) -> bool:
    """Say what will be written, and ask a user at a terminal; False if it is only listed. Raises CommandError."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.write(f"These {len(lines)} files, without secrets, go to {escaped(str(path))}, readable by you only.\n")
    sys.stdout.flush()
    if options.list:
        return False
    if not options.yes and sys.stdin is not None and sys.stdin.isatty() and not _agrees():
        raise CommandError("nothing was written")
    return True


def write(path: Path, content: bytes) -> None:
    """Write the archive into a new file, and say so. Raises CommandError."""
    try:
        create_file(path, content)
    except FileExistsError as error:
        raise CommandError(f"{path} exists already: choose another name by --output") from error
    sys.stdout.write(f"{escaped(str(path))} is written. Look into it before you send it: tar -tf\n")


def plain(text: str, *, keep: str = "") -> str:
    """A text as a part of a file's name: letters, digits, and what is in `keep`."""
    return "".join(char if (char.isalnum() and char.isascii()) or char in keep else "-" for char in text)


def _agrees() -> bool:
    sys.stdout.write("Write it? [Y/n] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")


def collected(surroundings: Surroundings, wanted: Iterable[SupportPart]) -> list[SupportFile]:
    """All files, with every secret that any part has met taken out of all of them, and of their names."""
    links = [resource["metadata"]["id"] for resource in surroundings.resources("linkstatuses")]
    scrubber = Scrubber(harmless=[*links, os.uname().nodename, own_version()])
    files = [file for part in wanted for file in collect(part, surroundings, scrubber)]
    # Cut last: what is left of a secret that was cut is not recognised.
    return [SupportFile(scrubber.scrubbed(file.name), scrubber.scrubbed(file.text)[-_LONGEST:]) for file in files]


def archive(folder: str, files: Iterable[SupportFile], now: float) -> bytes:
    """A tar file, compressed, with everything below one folder."""
    return packed(folder, files, now) + archive_end(now)


def packed(folder: str, files: Iterable[SupportFile], now: float) -> bytes:
    """A part of an archive: the parts follow each other, then comes the end."""
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", mtime=now) as compressed:
        for file in files:
            content = file.text.encode(errors="backslashreplace")
            entry = tarfile.TarInfo(f"{folder}/{file.name}")
            entry.size, entry.mode, entry.mtime = len(content), _MODE, int(now)
            compressed.write(entry.tobuf(errors="backslashreplace"))
            compressed.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
    return made.getvalue()


def archive_end(now: float) -> bytes:
    """The end of an archive."""
    return gzip.compress(bytes(tarfile.RECORDSIZE), mtime=now)


def parts(socket_path: str) -> Iterator[SupportPart]:
    """The resources first: they have the secrets that are to be taken out of the rest; then all others."""

    def resources(_surroundings: Surroundings, scrubber: Scrubber) -> Iterator[SupportFile]:
        yield from resource_files(socket_path, scrubber)

    def node(surroundings: Surroundings, _scrubber: Scrubber) -> Iterator[SupportFile]:
        yield from node_files(socket_path, surroundings)

    yield SupportPart(name="resources", collect=resources)
    loaded, errors = load_parts()
    yield from loaded
    yield SupportPart(name="node", collect=node)
    if errors:
        yield SupportPart(name="packages", collect=lambda *_: [SupportFile("failed/packages.txt", "\n".join(errors))])


def resource_files(socket_path: str, scrubber: Scrubber) -> Iterator[SupportFile]:
    """A file of YAML documents for each type."""
    definitions = [
        answer["resource"]["spec"]
        for answer in ask(socket_path, get_request("resourcedefinitions"))
        if "resource" in answer
    ]
    for namespace in ask(socket_path, get_request("namespaces")):
        if "resource" not in namespace:
            continue
        name = namespace["resource"]["metadata"]["id"]
        for definition in definitions:
            is_sensitive = bool(definition.get("sensitivity"))
            request = {**get_request(definition["type"]), "namespace": name}
            try:
                answers = ask(socket_path, request)
            except CommandError as error:
                yield SupportFile(f"failed/resources-{name}-{definition['type']}.txt", f"{error}\n")
                continue
            found = [answer["resource"] for answer in answers if "resource" in answer]
            if found:
                documents = [
                    dump(
                        {"metadata": each["metadata"], "spec": scrubber.masked(each["spec"], is_sensitive=is_sensitive)}
                    )
                    for each in found
                ]
                yield SupportFile(f"resources/{name}/{definition['type']}.yaml", "---\n".join(documents))


def node_files(socket_path: str, surroundings: Surroundings) -> Iterator[SupportFile]:
    """Versions, status, the dependency graph, doctor, and the log."""
    import importlib.metadata
    import platform

    versions = {
        "nodespan": surroundings.version,
        "agent": surroundings.agent or {"error": surroundings.agent_error},
        "python": sys.version,
        "system": dict(platform.uname()._asdict()),
        "os-release": surroundings.read("etc/os-release") or "",
        "packages": sorted(f"{each.metadata['Name']} {each.version}" for each in importlib.metadata.distributions()),
    }
    yield SupportFile("versions.yaml", dump(versions))
    checks, broken = doctor.chosen_checks([])
    yield SupportFile("doctor.json", to_json(doctor.data_of([*broken, *doctor.collect(checks, surroundings)])))
    yield SupportFile("log.txt", log_of_agent(surroundings.agent))
    if surroundings.agent is not None:
        (answer,) = ask(socket_path, {"call": "status", "watch": False})
        yield SupportFile("status.yaml", dump(data_of(answer["status"])))
        yield SupportFile("graph.json", json.dumps(ask(socket_path, {"call": "graph"})[0], indent=1) + "\n")
