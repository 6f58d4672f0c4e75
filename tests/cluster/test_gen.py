"""`nodespan gen config`."""

import argparse
import shlex
from pathlib import Path

import pytest

from cluster.gen import command
from controllers.config import check_file
from runtime.cli.errors import CommandError


def gen(line: str) -> int:
    """Run the verb as a user would."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(shlex.split(line)))


def test_one_file_serves_all_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gen(f"config --cluster-name home --output-dir {tmp_path}") == 0
    (file,) = tmp_path.iterdir()
    text, good = check_file(file)
    assert good
    assert text.endswith("is valid: 0 errors, 0 warnings\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(file) in capsys.readouterr().out


def test_nodes_with_files_of_their_own_have_the_secret_in_common(tmp_path: Path) -> None:
    gen(f"config --cluster-name home --output-dir {tmp_path} --nodes web db")
    web, db = (tmp_path / "web.yaml").read_text(), (tmp_path / "db.yaml").read_text()
    assert web != db
    assert web.splitlines()[1:] == db.splitlines()[1:]


def test_nothing_is_overwritten_and_nothing_else_is_written_then(tmp_path: Path) -> None:
    (tmp_path / "db.yaml").write_text("precious")
    with pytest.raises(CommandError, match="is there already"):
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
        ("config --cluster-name home --nodes ../x", "cannot be the name of a node"),
        ("config --cluster-name home --nodes x x", "twice"),
        ("config --cluster-name home --endpoint ftp://x", "not a valid machine configuration"),
        ("config --cluster-name home --ca /nowhere/ca.pem", "/nowhere/ca.pem: No such file"),
        ("config --join /nowhere/config.yaml", "cannot read the configuration"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(
    line: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=reason):
        gen(line)
    assert not list(tmp_path.iterdir())
