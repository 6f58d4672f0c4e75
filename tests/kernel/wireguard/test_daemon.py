"""wireguard-go as a process of the agent: what becomes of it where something else fails."""

import os
import shutil
import threading

import pytest

from nodespan.kernel.wireguard import daemon

pytestmark = pytest.mark.process


def test_a_process_that_nobody_could_reap_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which("tail")
    assert program is not None
    begun: list[int] = []
    real = os.posix_spawn

    def spawn(*arguments: object, **options: object) -> int:
        # It runs until it is ended: `tail -f` of a file that stays.
        begun.append(real(*arguments, **options))  # type: ignore[arg-type]
        return begun[-1]

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(os, "posix_spawn", spawn)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with daemon._Output() as output, pytest.raises(OSError, match="can't start new thread"):
        daemon._run(program, os.devnull, None, output)
    with pytest.raises(ChildProcessError):
        os.waitpid(begun[0], os.WNOHANG)


def test_the_file_of_an_output_that_cannot_be_sealed_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    def refuse(descriptor: int, _size: int) -> None:
        opened.append(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(OSError, match="No space"), daemon._Output():
        pass
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])
