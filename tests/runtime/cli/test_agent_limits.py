"""An agent that would hang for lack of address space does not start."""

import resource
from pathlib import Path

import pytest

from nodespan.runtime.cli import main
from nodespan.runtime.cli.agent import _check_address_space
from nodespan.runtime.cli.errors import CommandError

MIB = 2**20


@pytest.mark.parametrize(
    ("limit", "stack", "needed"),
    [
        (100, 8 * MIB, 640),
        (639, 8 * MIB, 640),
        (247, MIB, 248),
        (3000, 64 * MIB, 3776),
        (300, resource.RLIM_INFINITY, 304),
    ],
)
def test_a_limit_below_what_all_threads_reserve_is_refused(limit: int, stack: int, needed: int) -> None:
    with pytest.raises(CommandError, match=f"limited to {limit} MiB of address space .* give it {needed} MiB"):
        _check_address_space(limit * MIB, stack)
    _check_address_space(needed * MIB, stack)


def test_without_a_limit_none_is_refused() -> None:
    _check_address_space(resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def test_the_agent_looks_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (300 * MIB if kind == resource.RLIMIT_AS else 8 * MIB, 0))
    state, socket = tmp_path / "state", tmp_path / "agent.sock"
    assert main(["agent", "--state-dir", str(state), "--socket", str(socket)]) == 1
    assert "300 MiB of address space" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
