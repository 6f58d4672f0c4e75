"""`nodespan init`, `join` and `token`: the files that they write, and what they refuse."""

import argparse
import errno
import os
import pty
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nodespan.controllers.config.loading import read_and_load
from nodespan.controllers.membership import arrival, init_command, join_command, options, requirements, token_command
from nodespan.controllers.membership.init_command import _missing_relays
from nodespan.controllers.membership.machine_config import read_mesh
from nodespan.controllers.membership.token import Description, InvitationToken, decode
from nodespan.controllers.remote.talosconfig import read_config
from nodespan.controllers.secrets.authority import load_certificate
from nodespan.controllers.secrets.key_pair import certificate_of, roles_of
from nodespan.discovery.cli import command as discovery_command
from nodespan.discovery.relay_arguments import relay_options
from nodespan.runtime import whole_file
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.extension import Command
from tests.support.deadlines import PATIENCE

VERBS: dict[str, Command] = {"init": init_command.command, "join": join_command.command, "token": token_command.command}


def run(directory: Path, line: str, *, starts: bool = False) -> int:
    """Run a verb as a user would, on files below a directory."""
    verb, *words = shlex.split(line)
    parser = argparse.ArgumentParser()
    VERBS[verb].add_arguments(parser)
    place = ["--config", str(directory / "etc/config.yaml"), "--state-dir", str(directory / "state")]
    place += ["--socket", str(directory / "agent.sock")]
    if verb != "token" and not starts:
        place.append("--no-start")
    return VERBS[verb].run(parser.parse_args([*words, *place]))


@pytest.fixture
def one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """The first node of a mesh, and the token that `init` printed."""
    directory = tmp_path / "one"
    assert run(directory, "init --cluster-name home --endpoint https://d.example.org/ --address 192.0.2.1") == 0
    return directory, last_word(capsys)


def last_word(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.split()[-1]


def modes(directory: Path) -> dict[str, int]:
    return {
        str(path.relative_to(directory)): stat.S_IMODE(path.stat().st_mode)
        for path in [directory, *directory.rglob("*")]
        if path != directory
    }


def test_init_makes_a_control_plane_with_an_administrator_and_a_token(one: tuple[Path, str]) -> None:
    directory, line = one
    config = directory / "etc/config.yaml"
    loaded = read_and_load(config)
    assert not loaded.errors
    assert loaded.config.machine.type == "controlplane"
    assert loaded.config.nodespan.api.listen == "[::]:50000"
    mesh, _ = read_mesh(config)
    assert mesh.authority is not None
    assert mesh.authority.key
    admin = read_config(directory / "etc/talosconfig").chosen()
    assert roles_of(certificate_of(admin.certificate)) == ("os:admin",)
    token = decode(line)
    assert isinstance(token, InvitationToken)
    assert token.endpoints == ("192.0.2.1:50001",)
    assert token.authority == mesh.authority.certificate
    assert set(modes(directory).values()) == {0o600, 0o700}


def test_init_twice_is_once(one: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    directory, line = one
    before = (directory / "etc/config.yaml").read_bytes()
    assert run(directory, "init --cluster-name home --address 192.0.2.1") == 0
    assert (directory / "etc/config.yaml").read_bytes() == before
    out = capsys.readouterr().out
    assert "was made before" in out
    assert out.split()[-1] != line
    with pytest.raises(CommandError, match="is a member of the mesh 'home' already"):
        run(directory, "init --cluster-name other --address 192.0.2.1")
    assert (directory / "etc/config.yaml").read_bytes() == before


def test_a_discovery_service_of_its_own_has_a_certificate_that_nobody_can_make_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "init --discovery --address 192.0.2.1 --address d.example.org") == 0
    mesh, _ = read_mesh(tmp_path / "etc/config.yaml")
    assert [service.url for service in mesh.services] == ["https://192.0.2.1:3000/"]
    ((_, root),) = mesh.trusted_roots
    server = load_certificate((tmp_path / "etc/discovery/tls.crt").read_bytes())
    server.verify_directly_issued_by(load_certificate(root.encode()))
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert kept.count("BEGIN PRIVATE KEY") == 1  # the server's; those in configurations are base64
    assert modes(tmp_path / "etc")["discovery/tls.key"] == 0o600
    assert "nodespan discovery serve" in capsys.readouterr().out


def test_relays_of_the_mesh_are_those_of_every_machine_that_joins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    reached = "--address d.example.org --address 192.0.2.1 --address 2001:db8::1"
    assert run(one, f"init --discovery --relay --relay https://relay.example.org:3443 {reached}") == 0
    out = capsys.readouterr().out
    relay = "--relay --relay-address 192.0.2.1 --relay-address 2001:db8::1"
    assert (one / "etc/discovery.env").read_text().splitlines()[-1] == f"OPTIONS={relay}"
    assert f"tls.key {relay}\n" in out
    assert "21000 to 24999" in out
    # What it says is what the service takes.
    served = argparse.ArgumentParser()
    discovery_command.add_arguments(served)
    taken = relay_options(served.parse_args(["serve", *relay.split()]))
    assert [str(address) for address in taken.addresses] == ["192.0.2.1", "2001:db8::1"]
    expected = ("https://d.example.org:3000/", "https://relay.example.org:3443")
    assert read_and_load(one / "etc/config.yaml").config.nodespan.kubespan.relays == expected
    assert run(one, "token create --offline") == 0
    (tmp_path / "token").write_text(last_word(capsys))
    assert run(two, f"join @{tmp_path / 'token'}") == 0
    loaded = read_and_load(two / "etc/config.yaml")
    assert not loaded.errors
    assert loaded.config.nodespan.kubespan.relays == expected
    assert loaded.config.nodespan.api.listen == "[::]:50000"
    # Once more is the same; with another relay it is another mesh.
    assert run(one, f"init --discovery --relay {reached}") == 0
    with pytest.raises(CommandError, match=r"--relay: its relays are .*, not https://other\.example\.org"):
        run(one, f"init --relay https://other.example.org {reached}")


def test_a_relay_beside_discovery_is_that_of_any_service_of_the_mesh_and_the_own_one() -> None:
    own, other, relay = "https://192.0.2.1:3000/", "https://first.example.org/", "https://relay.example.org:3443"
    given = argparse.Namespace(relays=["", relay], addresses=["192.0.2.1"])
    for services, relays, missing in (
        ([own], [own, relay], []),
        # Another service has been put first.
        ([other, own], [own, relay], []),
        ([own], [relay], [own]),
        ([other], [other], [relay]),
    ):
        assert _missing_relays(given, services, relays) == missing


def test_options_of_a_discovery_service_that_was_there_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/discovery.env").write_text("OPTIONS=--redirect example.org:3000\n")
    with pytest.raises(CommandError, match=r"discovery.env: there already: .* Nothing was changed"):
        run(tmp_path, "init --discovery --relay --address 192.0.2.1")
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["discovery.env"]


def test_an_offline_token_makes_a_worker_without_asking_anybody(
    one: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, _ = one
    assert run(directory, "token create --offline") == 0
    line = last_word(capsys)
    two = tmp_path / "two"
    (tmp_path / "token").write_text(f"{line}\n")
    assert run(two, f"join @{tmp_path / 'token'}") == 0
    loaded = read_and_load(two / "etc/config.yaml")
    assert not loaded.errors
    assert loaded.config.machine.type == "worker"
    assert loaded.config.nodespan.api.listen == "[::]:50000"
    theirs, ours = read_mesh(directory / "etc/config.yaml")[0], read_mesh(two / "etc/config.yaml")[0]
    assert ours.cluster_secret == theirs.cluster_secret
    assert ours.authority is not None
    assert ours.authority.key == b""
    assert set(modes(two).values()) <= {0o600, 0o700}
    # Once more changes nothing, and another mesh is refused.
    before = (two / "etc/config.yaml").read_bytes()
    assert run(two, f"join @{tmp_path / 'token'}") == 0
    assert "is a member of the mesh 'home' already" in capsys.readouterr().out
    assert run(tmp_path / "three", "init --cluster-name other --no-api") == 0
    with pytest.raises(CommandError, match="is for another one"):
        run(two, f"join {last_word(capsys)}")
    assert (two / "etc/config.yaml").read_bytes() == before


@pytest.mark.parametrize("ends", ["\n", "", "\n\xff\n"], ids=["line", "no-newline", "more"])
@pytest.mark.parametrize("width", [10_000, 76], ids=["whole", "wrapped"])
def test_a_token_comes_from_standard_input_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, ends: str
) -> None:
    run(tmp_path / "one", "init --no-api")
    line = last_word(capsys)
    text = "\n".join(line[at : at + width] for at in range(0, len(line), width)) + ends
    read, write = os.pipe()
    os.write(write, text.encode("latin-1"))
    os.close(write)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        if "\xff" in ends:
            with pytest.raises(CommandError, match="this is not a token"):
                run(tmp_path / "two", "join -")
            return
        assert run(tmp_path / "two", "join -") == 0
    assert (tmp_path / "two/etc/config.yaml").exists()


def test_a_terminal_is_asked_for_the_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "one", "init --no-api")
    line = last_word(capsys)
    user, terminal = pty.openpty()
    os.write(user, f"{line}\n".encode())
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run(tmp_path / "two", "join -") == 0
    os.close(user)
    assert capsys.readouterr().err == "the token, and Enter: "


def test_the_patch_of_a_node_is_applied(tmp_path: Path) -> None:
    run(tmp_path, "init --no-api -p 'machine: {network: {hostname: first}}'")
    assert read_and_load(tmp_path / "etc/config.yaml").config.machine.network.hostname == "first"


def test_tokens_are_listed_and_revoked(one: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    directory, line = one
    run(directory, "token create --uses 3 --ttl never --address 192.0.2.1")
    capsys.readouterr()
    run(directory, "token list")
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["ID", "USES", "LEFT", "EXPIRES", "STATE"]
    token = decode(line)
    assert isinstance(token, InvitationToken)
    assert first.split()[0] == token.id
    assert second.split()[1:] == ["3", "never", "valid"]
    run(directory, f"token revoke {token.id}")
    with pytest.raises(CommandError, match=f"not known here: {token.id}"):
        run(directory, f"token revoke {token.id}")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("init --discovery --endpoint https://d.example.org/", "leave --endpoint and --ca out"),
        ("init --uses -1", "--uses"),
        ("init --relay --address 192.0.2.1", "give the URL of the relay, or --discovery"),
        ("init --relay relay.example.org --no-api", "is not the URL of a relay"),
        ("init --ttl 5x --address 192.0.2.1", "--ttl '5x': write it like 30m"),
        ("init --endpoint ftp://x --no-api", "not a valid machine configuration"),
        ("init --ca /nowhere/ca.pem --no-api", "/nowhere/ca.pem: No such file"),
        ("join nonsense", "this is not a token"),
        ("join @/nowhere/token", "/nowhere/token: No such file"),
        ("token create --address 192.0.2.1", "is part of no mesh"),
    ],
)
def test_refusals_say_why_and_make_no_member(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        run(tmp_path, line)
    assert not (tmp_path / "etc/config.yaml").exists()


def test_a_configuration_that_is_no_mesh_s_is_not_touched(tmp_path: Path) -> None:
    config = tmp_path / "etc/config.yaml"
    config.parent.mkdir()
    config.write_text("machine: {type: worker}\n")
    with pytest.raises(CommandError, match="is not that of a mesh: move it away first"):
        run(tmp_path, "init --no-api")
    assert config.read_text() == "machine: {type: worker}\n"


def test_the_token_is_not_among_the_arguments_that_init_advises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("init --no-api", "init --address 192.0.2.1"):
        run(tmp_path / line[5:9], line)
        out = capsys.readouterr().out
        assert "with `sudo nodespan join -`" in out
        assert "join nst1_" not in out


@pytest.mark.parametrize("name", ["talosconfig", "discovery/tls.key", "discovery/tls.crt"])
def test_the_keys_of_another_mesh_are_not_replaced(tmp_path: Path, name: str) -> None:
    file = tmp_path / "etc" / name
    file.parent.mkdir(parents=True)
    file.write_text("the only one")
    with pytest.raises(CommandError, match=f"{name}: there already"):
        run(tmp_path, "init --discovery --address 192.0.2.1")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "the only one"


def test_a_mesh_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = whole_file.create_file

    def fail_late(path: Path, content: str) -> None:
        if path.name == "config.yaml":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        create(path, content)

    monkeypatch.setattr(whole_file, "create_file", fail_late)
    with pytest.raises(CommandError, match=r"config\.yaml: No space left"):
        run(tmp_path, "init --discovery --address 192.0.2.1")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    assert run(tmp_path, "init --discovery --address 192.0.2.1") == 0


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ("machine: {type: [", "patch 1:1:"),
        ("machine: {type: neither}", "not a valid machine configuration"),
        ("cluster: {nothing: {$patch: delete}}", "lookup failed"),
        ("@/nowhere/typo.yaml", "the patch /nowhere/typo.yaml: No such file"),
    ],
)
def test_a_patch_that_does_not_fit_leaves_everything_as_it_was(
    one: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: str, reason: str
) -> None:
    def redeemed(*_: object) -> None:
        pytest.fail("the use of the token is gone")

    monkeypatch.setattr(join_command, "_description", redeemed)
    for line in ("init --discovery --address 192.0.2.1", f"join {one[1]}"):
        with pytest.raises(CommandError, match=reason):
            run(tmp_path / "two", f"{line} -p {shlex.quote(patch)}")
        assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    ("listen", "given", "expected"),
    [
        ("[::]:51000", "--address 192.0.2.1 --address 2001:db8::1", ["192.0.2.1:5100", "[2001:db8::1]:5100"]),
        ("192.0.2.7:51000", "", ["192.0.2.7:5100"]),
        ("[2001:db8::7]:51000", "", ["[2001:db8::7]:5100"]),
        ("192.0.2.7:51000", "--address 203.0.113.9", ["203.0.113.9:5100"]),
    ],
)
def test_tokens_name_the_port_at_which_the_api_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listen: str, given: str, expected: list[str]
) -> None:
    patch = f"{{apiVersion: nodespan.dev/v1alpha1, kind: NodespanConfig, api: {{listen: '{listen}'}}}}"
    assert run(tmp_path, f"init {given} -p {shlex.quote(patch)}") == 0
    made = decode(last_word(capsys))
    assert run(tmp_path, f"token create {given}") == 0
    later = decode(last_word(capsys))
    for token in (made, later):
        assert isinstance(token, InvitationToken)
        assert list(token.endpoints) == [f"{each}1" for each in expected]
    assert list(read_config(tmp_path / "etc/talosconfig").chosen().endpoints) == [f"{each}0" for each in expected]


def test_the_ports_that_must_be_free_are_those_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def taken(*, tcp: list[int], **_: object) -> list[str]:
        looked.extend(tcp)
        return ["taken"]

    monkeypatch.setattr(requirements, "obstacles", taken)
    patch = "{apiVersion: nodespan.dev/v1alpha1, kind: NodespanConfig, api: {listen: '[::]:51000'}}"
    for line in (f"init --discovery --address 192.0.2.1 -p {shlex.quote(patch)}", "init --no-api"):
        with pytest.raises(CommandError, match="nothing was changed"):
            run(tmp_path, line, starts=True)
    assert looked == [51000, 51001, 3000]


def test_init_again_waits_for_what_the_mesh_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    goals: list[arrival.Goal] = []

    def start(_: options.Place, goal: arrival.Goal, **__: object) -> bool:
        goals.append(goal)
        return True

    monkeypatch.setattr(options, "start", start)
    run(tmp_path, "init --no-api")
    run(tmp_path, "init", starts=True)
    assert goals == [arrival.Goal(api=False)]
    assert isinstance(decode(last_word(capsys)), Description)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("init --cluster-name home --discovery", "--discovery: it has no discovery service of its own"),
        ("init --cluster-name home --no-api", r"--no-api: its API listens at \[::\]:50000"),
        ("init --cluster-name home --endpoint https://e.example.org/", "--endpoint: it uses https://d.example.org/"),
    ],
)
def test_a_mesh_that_was_made_in_another_way_is_not_taken_for_this_one(
    one: tuple[Path, str], line: str, reason: str
) -> None:
    with pytest.raises(CommandError, match=f"was made before, .*, in another way; {reason}"):
        run(one[0], f"{line} --address 192.0.2.1")


@pytest.mark.parametrize(
    "line", ["token create --address 192.0.2.1", "token list", "token revoke 1", "init --cluster-name home"]
)
def test_a_damaged_file_of_tokens_is_named(one: tuple[Path, str], line: str) -> None:
    (one[0] / "state/invitations.json").write_text("{")
    with pytest.raises(CommandError, match=r"invitations\.json is damaged: remove it"):
        run(one[0], f"{line} --address 192.0.2.1" if line.startswith("init") else line)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
def test_secrets_are_private_under_any_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        run(tmp_path / "a/b", "init --discovery --address 192.0.2.1")
    finally:
        os.umask(before)
    found = modes(tmp_path)
    assert {found.pop("a"), found.pop("a/b")} == {0o755}
    assert set(found.values()) == {0o600, 0o700}


@pytest.mark.parametrize("secret", ["nst1_secret", "x", "xx", "n"])
def test_a_secret_is_taken_out_of_the_arguments(secret: str) -> None:
    program = (
        "import sys; from nodespan.controllers.membership.own_arguments import hide; hide(sys.argv[1]);"
        "print(open('/proc/self/cmdline').read().split(chr(0))[3:])"
    )
    command = (sys.executable, "-c", program, secret, "next")
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == f"{['x' * len(secret), 'next', '']}\n", done.stderr


@pytest.mark.parametrize(("text", "expected"), [("30m", 1800.0), ("24h", 86400.0), ("7d", 604800.0), ("never", None)])
def test_times_are_read(text: str, expected: float | None) -> None:
    assert options.seconds(text) == expected
