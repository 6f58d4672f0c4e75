"""`nodespan machineconfig edit`: the configuration in effect in an editor, until it is applied or given up."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nodespan.runtime.cli.editor import run_editor
from nodespan.runtime.cli.errors import CommandError

_TITLE = "# Editing MachineConfigs.config.talos.dev/v1alpha1 at node {node}\n"
_MARK = "# "


def in_editor(text: str) -> tuple[str, Path]:
    """The text as the user leaves it, and the file that holds it. Raises CommandError."""
    status, file = run_editor(text, "TALOS_EDITOR")
    if status:
        raise CommandError(f"the editor failed, nothing was changed; what you wrote is in {file}")
    return file.read_text(encoding="utf-8"), file


def edit(
    node: str, text: str, submit: Callable[[str], str], editor: Callable[[str], tuple[str, Path]] = in_editor
) -> str:
    """Have the user change the text until `submit` takes it; returns what to say.

    `submit` raises CommandError for a text that is refused: the editor opens again, with the error on top. A user who
    then changes nothing gives up. Raises CommandError.
    """
    head, shown, error = [_TITLE.format(node=node)], text, ""
    while True:
        after, file = editor("".join(head) + shown)
        changed = without(head, after)
        if changed == shown and error:
            raise CommandError(f"{error}\nwhat you wrote is in {file}\nEdit canceled, no valid changes were saved.")
        file.unlink()
        if all(line.startswith("#") for line in changed.splitlines() if line.strip()):
            return "Apply was skipped: empty file."
        if changed == shown:
            return "Apply was skipped: no changes detected."
        try:
            return submit(changed)
        except CommandError as refused:
            error, shown = str(refused), changed
            head = [*(f"{_MARK}{line}\n" for line in error.splitlines()), _TITLE.format(node=node)]


def without(head: Sequence[str], text: str) -> str:
    """The text without the lines that the editor was opened with above it; other comments are the user's."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0] in head:
        del lines[0]
    return "".join(lines)
