"""`nodespan gen`."""

import argparse
import base64
import io
import shlex
from pathlib import Path

import pytest

from nodespan.cluster.gen import command
from nodespan.controllers.config.check import check_files
from nodespan.controllers.membership.machine_config import read_mesh
from nodespan.controllers.remote.talosconfig import read_config
from nodespan.controllers.secrets.authority import load_certificate
from nodespan.controllers.secrets.key_pair import certificate_of, roles_of
from nodespan.runtime.cli.errors import CommandError
from tests.support.vectors import load


def gen(line: str) -> int:
    """Run the verb as a user would."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(shlex.split(line)))


def test_one_file_serves_all_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gen(f"config --cluster-name home --output-dir {tmp_path}") == 0
    client, file = sorted(tmp_path.iterdir(), reverse=True)
    assert client.name == "talosconfig"
    text, good = check_files([file])
    assert good
    assert text.endswith("is valid: 0 errors, 0 warnings\n")
    assert [each.stat().st_mode & 0o777 for each in (file, client)] == [0o600, 0o600]
    assert str(file) in capsys.readouterr().out


def test_the_client_is_an_administrator_of_the_authority_in_the_files(tmp_path: Path) -> None:
    gen(f"config --cluster-name home --output-dir {tmp_path} --nodes web db --control-planes db")
    context = read_config(tmp_path / "talosconfig").chosen()
    assert (context.cluster, context.endpoints) == ("home", ("db",))
    assert roles_of(certificate_of(context.certificate)) == ("os:admin",)
    web, db = (read_mesh(tmp_path / f"{name}.yaml")[0] for name in ("web", "db"))
    assert web.authority is not None
    assert db.authority is not None
    assert web.authority.certificate == db.authority.certificate == context.authority
    assert (bool(web.authority.key), bool(db.authority.key)) == (False, True)
    assert web.token == db.token != ""
    load_certificate(context.certificate).verify_directly_issued_by(load_certificate(context.authority))


def test_per_node_files_share_the_secret(tmp_path: Path) -> None:
    gen(f"config --cluster-name home --output-dir {tmp_path} --nodes web db")
    web, db = (tmp_path / "web.yaml").read_text(), (tmp_path / "db.yaml").read_text()
    assert web != db
    assert web.splitlines()[1:] == db.splitlines()[1:]


def test_an_existing_file_is_kept_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "db.yaml").write_text("precious")
    with pytest.raises(CommandError, match="exists, and its secret"):
        gen(f"config --cluster-name home --output-dir {tmp_path} --nodes web db")
    assert [file.name for file in tmp_path.iterdir()] == ["db.yaml"]
    assert (tmp_path / "db.yaml").read_text() == "precious"


def test_the_secret_is_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gen(f"config --cluster-name home --output-dir {tmp_path}")
    (secret,) = [
        line.split()[1] for line in (tmp_path / "config.yaml").read_text().splitlines() if "clusterSecret" in line
    ]
    assert secret not in capsys.readouterr().out


def test_a_node_joins_what_another_file_describes(tmp_path: Path) -> None:
    gen(f"config --cluster-name home --output-dir {tmp_path}")
    gen(f"config --join {tmp_path / 'config.yaml'} --output-dir {tmp_path} --nodes third")
    first, third = (tmp_path / "config.yaml").read_text(), (tmp_path / "third.yaml").read_text()
    assert first.partition("DiscoveryIdentityConfig")[2] == third.partition("DiscoveryIdentityConfig")[2]


def test_the_authority_of_the_discovery_service_is_part_of_the_file(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    gen(f"config --cluster-name home --endpoint https://d.example.org/ --ca {authority} --output-dir {tmp_path}")
    assert "kind: TrustedRootsConfig" in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("config", "--cluster-name"),
        ("config --join x.yaml --cluster-name home", "leave --cluster-name"),
        ("config --cluster-name home --output-dir /nowhere/at/all", "no such directory"),
        ("config --cluster-name home --nodes ../x", "is not a valid node name"),
        ("config --cluster-name home --nodes x x", "twice"),
        ("config --cluster-name home --nodes x --control-planes y", "y is not among the --nodes"),
        ("config --cluster-name home --ca /dev/zero", "/dev/zero: there are more than"),
        ("config --cluster-name home --endpoint ftp://x", "not a valid machine configuration"),
        ("config --cluster-name home --ca /nowhere/ca.pem", "/nowhere/ca.pem: No such file"),
        ("config --join /nowhere/config.yaml", "cannot read the configuration"),
    ],
)
def test_failures_are_explained_and_leave_nothing_behind(
    line: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=reason):
        gen(line)
    assert not list(tmp_path.iterdir())


def test_generated_keys_are_valid_for_wireguard_and_unique(capsys: pytest.CaptureFixture[str]) -> None:
    assert gen("key") == 0
    assert gen("key") == 0
    one, other = capsys.readouterr().out.splitlines()
    assert one != other
    raw = base64.b64decode(one, validate=True)
    assert len(raw) == 32
    assert (raw[0] & 0x07, raw[31] & 0xC0) == (0, 0x40)


def test_the_public_key_is_derived_from_a_private_one_on_stdin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vector = next(each for each in load("wireguard_keypair") if each["derives"])
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{vector['private_key']}\n"))
    assert gen("key --public") == 0
    assert capsys.readouterr().out == f"{vector['public_key']}\n"


@pytest.mark.parametrize(("text", "reason"), [("", "0 bytes"), ("?", "not base64"), ("QUJD\n", "3 bytes")])
def test_an_invalid_private_key_is_rejected_without_repeating_it(
    text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(CommandError, match=reason) as caught:
        gen("key --public")
    assert "QUJD" not in str(caught.value)
