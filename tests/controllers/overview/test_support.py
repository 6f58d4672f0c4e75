"""The archive for a bug report: every kind of secret is planted wherever one may be, and none is found in it."""

import base64
import datetime
import enum
import io
import os
import stat
import tarfile
import time
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio

from nodespan.controllers.overview.support import PARTS, masked_text
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.network import LinkStatus, LinkStatusSpec, NetworkProblem, NetworkProblemSpec
from nodespan.runtime.api.local import LocalServer, listen
from nodespan.runtime.cli import main
from nodespan.runtime.cli.overview import support
from nodespan.runtime.cli.overview.support import archive, collected, parts
from nodespan.runtime.engine import Engine
from nodespan.runtime.events import Event, EventSpec
from nodespan.runtime.overview.check import Surroundings
from nodespan.runtime.overview.secrets import MASK, Scrubber, is_harmless
from nodespan.runtime.overview.support import SupportFile, SupportPart
from nodespan.runtime.resource import Namespace, NamespaceSpec, ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.meta import register_types
from tests.resources.type_names import types as all_types
from tests.runtime.test_named_file import made

KEY = base64.b64encode(bytes(range(7, 39))).decode()
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA9fake0fake1fake2\n-----END PRIVATE KEY-----"
# Keys of configurations under which secrets stand; each gets one of its own.
CONFIG_KEYS = (
    *("secret", "privateKey", "presharedKey", "token", "password", "apiToken", "clusterSecret", "key", "content"),
    *("passphrase", "bootstrapToken", "aescbcEncryptionSecret", "secretboxEncryptionSecret"),
)


class Planter:
    """Makes secrets, each unlike any other, and remembers them."""

    def __init__(self) -> None:
        self.planted: list[str] = []

    def secret(self, where: str) -> str:
        """A new one."""
        text = f"S3cr3t{len(self.planted):03d}{''.join(filter(str.isalnum, where))}"
        self.planted.append(text)
        return text

    def fill(self, hint: Any, where: str) -> Any:
        """A value of a type, with a secret in every place that holds text."""
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (types.UnionType, typing.Union):
            return self.fill(next(each for each in arguments if each is not type(None)), where)
        if origin is typing.Literal:
            return arguments[0]
        if origin is tuple:
            return (self.fill(arguments[0], where),)
        if hint is str:
            return self.secret(where)
        if hint is bytes:
            return self.secret(where).encode()
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return next(iter(hint))
        if isinstance(hint, type) and attrs.has(hint):
            hints = typing.get_type_hints(hint)
            fields = {
                field.name: self.fill(hints[field.name], f"{where}{field.name}")
                for field in attrs.fields(hint)
                if field.init
            }
            return hint(**{name: value for name, value in fields.items() if value is not None})
        return {int: 1, bool: True, datetime.timedelta: datetime.timedelta(1)}.get(hint)


def configuration(planter: Planter) -> str:
    lines = ["version: v1alpha1", "machine:", "  type: worker", "  network:", "    hostname: one", "  files:"]
    lines += ["  - path: /etc/x", "    content: |", f"      password = {planter.secret('file')}", "cluster:"]
    lines += [f"  {name}: {planter.secret(name)}" for name in CONFIG_KEYS]
    lines += [
        f'  endpoint: "https://user:{planter.secret("url")}@etcd.example.org:2379"',
        f"  crt: {planter.secret('crt')}",
    ]
    lines += ["  pem: |", *(f"    {line}" for line in PEM.splitlines()), f"# an old key: {KEY}"]
    planter.planted += [PEM.splitlines()[1], KEY]
    return "\n".join([*lines, ""])


def sensitive_types() -> Iterator[ResourceType[Any]]:
    for type in all_types():
        if type.definition.sensitivity and type is not MachineConfig:
            yield type


async def test_secrets_of_every_kind_are_planted_everywhere_and_none_is_in_the_archive(tmp_path: Path) -> None:
    planter = Planter()
    text = configuration(planter)
    file = tmp_path / "machine.yaml"
    file.write_text(text)
    state, log = MemoryState(), structlog.get_logger()
    engine = Engine(state, log=log)
    sensitive = list(sensitive_types())
    assert len(sensitive) >= 10
    await register_types(state, [*sensitive, MachineConfig, NetworkProblem, Event, LinkStatus])
    for name in {type.kind.namespace for type in [*sensitive, MachineConfig, NetworkProblem, Event]}:
        await state.modify(Namespace.new(name, NamespaceSpec()), lambda known: known, owner="")
    for type in sensitive:
        await state.create(type.new("one", planter.fill(type.spec_class, type.name.partition(".")[0])))
    await state.create(MachineConfig.new(MACHINE_CONFIG_ID, MachineConfigSpec(text=text)))
    await state.create(LinkStatus.new("eth0", LinkStatusSpec()))
    # What others repeat: errors, events, logs, outputs of programs.
    said = "; ".join(planter.planted)
    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    await state.create(NetworkProblem.new("p", NetworkProblemSpec(type="T.t", id="i", message=f"refused: {said}")))
    await state.create(Event.new("1", EventSpec(time=moment, kind="k", text=f"failed: {said}")))
    inline = [f"--token={planter.secret('argument')}", f'{{"password": "{planter.secret("json")}"}}']
    inline += [
        f"Authorization: Bearer {planter.secret('bearer')}",
        f"http://u:{planter.secret('proxy')}@p.example.org/",
    ]
    repeated = "\n".join([said, *inline, PEM])
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cmdline").write_text(f"quiet talos.token={planter.secret('cmdline')} root=/dev/sda")
    (tmp_path / "state").mkdir()
    (tmp_path / "state/identity.yaml").write_text(said)
    surroundings = Surroundings(
        state_dir=tmp_path / "state", config=(file,), root=tmp_path, run_program=lambda _: repeated, find_program=str
    )
    socket_path = tmp_path / "agent.sock"

    def make() -> list[SupportFile]:
        from nodespan.runtime.cli.client import ask
        from nodespan.runtime.cli.overview.requests import get_request

        def resources(name: str) -> list[dict[str, Any]]:
            answers = ask(str(socket_path), get_request(name))
            return [answer["resource"] for answer in answers if "resource" in answer]

        everything = SupportPart(name="more", collect=lambda *_: [SupportFile(f"more/{planter.planted[0]}", repeated)])
        wanted = [part for part in parts(str(socket_path)) if part.name != "node"]
        return collected(attrs.evolve(surroundings, resources=resources), [everything, *wanted])

    async with listen(socket_path) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(LocalServer(state, engine, log, version="1").serve, listener)
        files = await trio.to_thread.run_sync(make)
        nursery.cancel_scope.cancel()
    names = [each.name for each in files]
    assert not [name for name in names if name.startswith("failed/")], files
    assert {"configuration/0-machine.yaml", "kernel/nftables.txt", "system/proc-cmdline.txt"} <= set(names)
    assert len([name for name in names if name.startswith("resources/")]) >= len(sensitive) + 3
    assert len(planter.planted) > 60
    for each in files:
        content = each.name + each.text
        for secret in planter.planted:
            assert secret not in content, f"{secret} is in {each.name}"
            encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
            assert encoded not in content, f"{secret} is in {each.name}, encoded"
    # What is no secret is there, or the archive would be of no use.
    whole = "\n".join(each.text for each in files)
    for useful in ("hostname: one", "root=/dev/sda", "id: eth0", "refused: "):
        assert useful in whole


@pytest.mark.parametrize(
    "text", ["192.0.2.1", "192.0.2.0/24", "[2001:db8::1]:51820", "10.0.0.1:80", "2026-01-02T03:04:05Z"]
)
def test_addresses_and_times_are_no_secrets(text: str) -> None:
    assert is_harmless(text)
    assert Scrubber().masked({"a": text}, is_sensitive=True) == {"a": text}
    assert Scrubber().masked({"password": text}, is_sensitive=False) == {"password": MASK}


def test_words_are_masked_where_they_stand_and_stay_elsewhere() -> None:
    scrubber = Scrubber(harmless=["eth0"])
    spec = {"kind": "bridge", "name": "eth0", "mtu": 1500, "up": True, "list": ["Ab3xyzzy"]}
    masked = scrubber.masked(spec, is_sensitive=True)
    assert masked == {"kind": MASK, "name": "eth0", "mtu": 1500, "up": True, "list": [MASK]}
    assert scrubber.scrubbed("the bridge eth0 has Ab3xyzzy") == f"the bridge eth0 has {MASK}"


def test_public_keys_stay_and_what_follows_a_word_for_a_secret_is_masked() -> None:
    assert Scrubber().scrubbed(f'publicKey: "{KEY}"') == f'publicKey: "{KEY}"'
    assert Scrubber().scrubbed("wrong secret: is it the same everywhere?") == "wrong secret: is it the same everywhere?"
    assert Scrubber().scrubbed("x?token=Ab12Cd&y=1") == f"x?token={MASK}&y=1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'msg="{\"token\": \"abcdef.0123456789abcdef\"}" x=1', r'msg="{\"token\": \"(masked)\"}" x=1'),
        (r"{\"a\":\"{\\\"secret\\\":\\\"hush hush\\\"}\"}", r"{\"a\":\"{\\\"secret\\\":\\\"(masked)\\\"}\"}"),
        (r'"password": "pa\"ss word", "a": "b"', '"password": "(masked)", "a": "b"'),
        ('"password": "correct horse battery", "a": "b"', '"password": "(masked)", "a": "b"'),
        ("rd.iscsi.password=correcthorse root=/dev/sda", "rd.iscsi.password=(masked) root=/dev/sda"),
        ("password=abc x", "password=(masked) x"),
        ('"token":"abc" x', '"token":"(masked)" x'),
        ('"secret": "cut off he', '"secret": "(masked)'),
        (r"https:\/\/me:hush@example.org", r"https:\/\/(masked)@example.org"),
        ("token: expired", "token: expired"),
        ("key: value", "key: value"),
        ("the secret: (masked) and", "the secret: (masked) and"),
        ('"token": "", "x": "y"', '"token": "", "x": "y"'),
    ],
)
def test_secrets_are_masked_however_they_are_quoted(text: str, expected: str) -> None:
    assert Scrubber().scrubbed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"cluster":{"token":"abcdef.0123456789abcdef","secret":"hushhush"}}',
        "rd.password=hushhush token=abcdef.0123456789abcdef",
        r"{\"token\":\"abcdef.0123456789abcdef\",\"secret\":\"hushhush\"}",
    ],
)
def test_a_configuration_of_one_line_is_a_table_of_secrets_too(text: str) -> None:
    scrubber = Scrubber()
    scrubber.add(text)
    assert scrubber.scrubbed("refused abcdef.0123456789abcdef, and hushhush") == f"refused {MASK}, and {MASK}"


def test_what_a_log_says_of_values_that_only_the_reader_sees_is_masked_too(tmp_path: Path) -> None:
    file = tmp_path / "machine.yaml"
    file.write_text('a: &x hushhush\ncluster: {"to\\x6ben":"abcdef.0123456789", secret: *x}\n')
    log = SupportPart(name="log", collect=lambda *_: [SupportFile("log.txt", "hushhush abcdef.0123456789\n")])
    wanted = [part for part in parts(str(tmp_path / "none.sock")) if part.name == "configuration"]
    surroundings = Surroundings(state_dir=tmp_path, config=(file,))
    files = {each.name: each.text for each in collected(surroundings, [log, *wanted])}
    assert files["log.txt"] == f"{MASK} {MASK}\n"
    assert "hush" not in files["configuration/0-machine.yaml"]
    assert "abcdef" not in files["configuration/0-machine.yaml"]


def test_a_configuration_that_cannot_be_parsed_is_masked_more() -> None:
    text = f"a: [\n  x {KEY}\n secret: abc\n"
    assert KEY not in masked_text(text, is_understood=False)
    assert "abc" not in masked_text(text, is_understood=False)


def test_the_archive_has_one_folder_and_is_readable_by_its_user_only() -> None:
    made = archive("folder", [SupportFile("a/b.txt", "x\udcff\n")], 5.0)
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        (entry,) = tar.getmembers()
        file = tar.extractfile(entry)
        assert file is not None
        assert (entry.name, stat.S_IMODE(entry.mode), file.read()) == ("folder/a/b.txt", 0o600, b"x\\udcff\n")


@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_a_configuration_that_is_no_file_or_too_large_is_named_and_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "config.yaml"
    if kind == "large":
        path.touch()
        os.truncate(path, 2**40)
    else:
        made(kind, path)
    wanted = [part for part in PARTS if part.name == "configuration"]
    file, problems = collected(Surroundings(state_dir=tmp_path, config=(path,)), wanted)
    reason = "there are more than" if kind == "large" else f"this is a {kind}"
    assert file.text.startswith(f"this file cannot be read: {reason}")
    assert "config.yaml" in problems.text


def test_a_part_that_fails_is_a_file_and_the_others_are_there() -> None:
    def fail(*_: Any) -> Iterator[SupportFile]:
        yield SupportFile("before", "1")
        raise ZeroDivisionError("here")

    surroundings = Surroundings(state_dir=Path("/nonexistent"))
    wanted = [
        SupportPart(name="bad", collect=fail),
        SupportPart(name="good", collect=lambda *_: [SupportFile("after", "2")]),
    ]
    files = {file.name: file.text for file in collected(surroundings, wanted)}
    assert files == {"before": "1", "failed/bad.txt": "ZeroDivisionError: here\n", "after": "2"}


def test_a_secret_across_the_place_where_a_file_is_cut_is_taken_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "S3cr3t-of-some-length"
    monkeypatch.setattr(support, "_LONGEST", len(secret) // 2 + len(" the end"))

    def collect(_surroundings: Surroundings, scrubber: Scrubber) -> Iterator[SupportFile]:
        scrubber.add(secret)
        yield SupportFile("log", f"{secret} the end")

    wanted = SupportPart(name="log", collect=collect)
    (file,) = collected(Surroundings(state_dir=Path("/nonexistent")), [wanted])
    assert file.text.endswith(" the end")
    assert secret[-6:] not in file.text


def test_the_files_of_the_archive_are_of_now_in_any_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "collected", lambda *_: [SupportFile("a", "b")])
    path = tmp_path / "made.tar.gz"
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        began = int(time.time())
        assert main(["support", "--yes", "--output", str(path), "--socket", str(tmp_path / "none")]) == 0
    finally:
        monkeypatch.undo()
        time.tzset()
    with tarfile.open(path) as tar:
        (entry,) = tar.getmembers()
    assert began <= entry.mtime <= time.time()


@pytest.mark.parametrize("line", ["  x {}", "# an old one: {}", "a b https://user:{}@etcd.example.org:2379", "{}"])
@pytest.mark.parametrize("is_understood", [False, True])
def test_a_secret_where_a_long_line_of_a_configuration_is_cut_is_masked_whole(line: str, is_understood: bool) -> None:
    secret = "Zx9" * 20
    before, _, after = line.partition("{}")
    text = f"{'x ' * ((4000 - len(before)) // 2 - 10)}{before}{secret}{after}"
    broken = f"# {text}\n" if is_understood else f"a: [\n{text}\n"
    assert "Zx9" not in masked_text(broken, is_understood=is_understood)


def test_a_line_without_a_blank_is_left_out_if_it_is_too_long() -> None:
    for line in (" " * 5000, "x" * 5000):
        assert masked_text(f"a: [\n{line}\nb\n", is_understood=False).splitlines() == ["a: [", "", "b"]
