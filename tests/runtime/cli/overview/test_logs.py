"""`nodespan logs`: where the log of an agent is, and how it is shown."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview import logs
from nodespan.runtime.cli.overview.logs import command_for, log_of_agent, without_cut_secret

AGENT = {"pid": 7, "version": "1", "node": "one"}


@pytest.fixture(autouse=True)
def journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")


def process(root: Path, cgroup: str, stderr: str = "socket:[1]") -> Path:
    (root / "proc/7/fd").mkdir(parents=True)
    (root / "proc/7/cgroup").write_text(cgroup)
    (root / "proc/7/fd/2").symlink_to(stderr)
    return root


def command(root: Path, agent: dict[str, Any] | None = AGENT, **options: Any) -> list[str] | None:
    return command_for(agent, **{"lines": 10, "follow": False, "since": "", "root": root, **options})


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/nodespan.service\n", "nodespan.service"),
        ("0::/system.slice/nodespan@edge-1.service/sub\n", "nodespan@edge-1.service"),
        ("1:name=systemd:/x.slice/y.service\n0::/\n", "y.service"),
    ],
)
def test_the_log_of_a_service_is_in_the_journal(tmp_path: Path, cgroup: str, unit: str) -> None:
    root = process(tmp_path, cgroup)
    assert command(root) == ["journalctl", "--unit", unit, "--lines", "10", "--no-pager"]
    assert command(root, since="10m", follow=True) == [
        *("journalctl", "--unit", unit, "--lines", "10", "--no-pager", "--since", "-10m", "-f"),
    ]


USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("cgroup", "stderr"),
    [
        (f"0::{USER}/app.slice/vte-spawn-1.scope\n", "/dev/pts/0"),
        (f"0::{USER}/app.slice/vte-spawn-1.scope\n", "socket:[1]"),
        (f"0::{USER}/app.slice/gnome-terminal-server.service\n", "socket:[1]"),
        (f"0::{USER}\n", "socket:[1]"),
        ("0::/system.slice/containerd.service/task\n", "socket:[1]"),
        ("0::/system.slice/ssh.service\n", "/dev/pts/0"),
        ("0::/system.slice/cron.service\n", "pipe:[2]"),
    ],
)
def test_the_journal_of_a_session_or_of_who_started_the_agent_is_not_its_log(
    tmp_path: Path, cgroup: str, stderr: str
) -> None:
    assert command(process(tmp_path, cgroup, stderr)) is None


def test_the_log_of_an_agent_that_writes_to_a_file_is_that_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.log"
    file.touch()
    root = process(tmp_path, "0::/user.slice/session.service\n", str(file))
    assert command(root, follow=True) == ["tail", "-n", "10", "-F", "--", str(file)]
    with pytest.raises(CommandError, match="--since is for the journal"):
        command(root, since="10m")


def test_without_an_agent_it_is_that_of_the_unit_if_there_is_one(tmp_path: Path) -> None:
    assert command(tmp_path, None) is None
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/nodespan.service").touch()
    assert command(tmp_path, None) == ["journalctl", "--unit", "nodespan.service", "--lines", "10", "--no-pager"]


@pytest.mark.parametrize("stderr", ["/dev/pts/0", "pipe:[2]", "/gone"])
def test_a_log_that_goes_nowhere_is_not_found(tmp_path: Path, stderr: str) -> None:
    assert command(process(tmp_path, "0::/user.slice\n", stderr)) is None


def test_for_support_a_log_that_is_not_found_is_a_text_that_says_so() -> None:
    assert log_of_agent({"pid": 2**31, "version": "1"}) == "the log is not found\n"


@pytest.mark.process
def test_a_line_that_was_cut_is_left_out_of_the_log_for_support(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "agent.log"
    file.write_text("token=Abc123\nä 2\nlast\n")
    monkeypatch.setattr(logs, "command_for", lambda *_, **__: ["cat", str(file)])
    whole = file.stat().st_size
    expected = {whole + 1: file.read_text(), whole: file.read_text(), whole - 8: "ä 2\nlast\n"}
    # In the middle of a character.
    expected |= {len("ä 2\nlast\n".encode()) - 1: "last\n"}
    for most, text in expected.items():
        monkeypatch.setattr(logs, "_MOST_BYTES", most)
        assert log_of_agent(AGENT) == text


BLOCK = ["-----BEGIN EC PRIVATE KEY-----", "MHcCAQEE", "oUQDQgAE", "-----END EC PRIVATE KEY-----"]


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ([*BLOCK[1:], "after"], ["after"]),
        ([f"Jan 02 one nodespan[7]: {line}" for line in BLOCK[2:]] + ["after"], ["after"]),
        (["before", *BLOCK, "after", *BLOCK], None),
        (["a"] * 300 + ["no -----END PRIVATE KEY----- is found"], None),
        (["before", "after"], None),
        ([BLOCK[3]], []),
    ],
)
def test_the_rest_of_a_private_key_is_left_out_of_the_log_for_support(lines: list[str], left: list[str] | None) -> None:
    given, expected = ("".join(f"{line}\n" for line in each) for each in (lines, lines if left is None else left))
    assert without_cut_secret(given) == expected
