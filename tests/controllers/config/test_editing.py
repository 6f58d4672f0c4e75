"""The configuration in an editor: applied, refused and opened again, given up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nodespan.controllers.config.editing import edit
from nodespan.runtime.cli.errors import CommandError

TEXT = "# mine\nmachine:\n  type: worker\n"


class Editor:
    """Does to the text what each of the changes says, one after the other."""

    def __init__(self, path: Path, *changes: Callable[[str], str]) -> None:
        self._path = path
        self._changes = list(changes)
        self.shown: list[str] = []

    def __call__(self, text: str) -> tuple[str, Path]:
        self.shown.append(text)
        self._path.touch()
        return self._changes.pop(0)(text), self._path


def refuse(text: str) -> str:
    if "bad" in text:
        raise CommandError("line 3: bad\nnothing was changed")
    return f"applied {text!r}"


def same(text: str) -> str:
    return text


def test_what_was_saved_is_applied_with_the_users_own_comments(tmp_path: Path) -> None:
    editor = Editor(tmp_path / "x", lambda text: text.replace("worker", "controlplane"))
    assert edit("one", TEXT, refuse, editor) == "applied '# mine\\nmachine:\\n  type: controlplane\\n'"
    assert editor.shown == [f"# Editing MachineConfigs.config.talos.dev/v1alpha1 at node one\n{TEXT}"]
    assert not (tmp_path / "x").exists()


def test_what_is_refused_opens_again_with_the_reasons(tmp_path: Path) -> None:
    editor = Editor(
        tmp_path / "x",
        lambda text: text.replace("worker", "bad"),
        lambda text: text.replace("type: bad", "type: init"),
    )
    assert edit("one", TEXT, refuse, editor) == "applied '# mine\\nmachine:\\n  type: init\\n'"
    assert editor.shown[1].startswith("# line 3: bad\n# nothing was changed\n# Editing ")


def test_who_changes_nothing_then_gives_up_and_keeps_the_text(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no valid changes were saved") as caught:
        edit("one", TEXT, refuse, Editor(tmp_path / "x", lambda text: text.replace("worker", "bad"), same))
    assert str(tmp_path / "x") in str(caught.value)
    assert (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [(same, "no changes detected"), (lambda _: "", "empty file"), (lambda _: "# a\n\n# b\n", "empty file")],
)
def test_nothing_is_sent_without_a_change(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    assert said in edit("one", TEXT, lambda _: "sent", Editor(tmp_path / "x", change))
