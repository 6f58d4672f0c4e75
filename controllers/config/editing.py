"""`nodespan machineconfig edit`: the configuration in effect in an editor, until it is applied or given up."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from nodespan.runtime.cli.errors import CommandError

_TITLE = "# Editing MachineConfigs.config.talos.dev/v1alpha1 at node {node}\n"
_MARK = "# "


def run_editor(text: str) -> tuple[str, Path]:
    """The text as the user leaves it, and the file that holds it. Raises CommandError."""
    editor = os.environ.get("TALOS_EDITOR") or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    descriptor, name = tempfile.mkstemp(prefix="nodespan-edit-", suffix=".yaml")
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        status = subprocess.run([*shlex.split(editor), name], check=False).returncode
    except OSError as error:
        Path(name).unlink()
        raise CommandError(f"the editor {editor!r}: {error.strerror}: set EDITOR") from error
    if status:
        raise CommandError(f"the editor failed, nothing was changed; what you wrote is in {name}")
    return Path(name).read_text(encoding="utf-8"), Path(name)


def edit(
    node: str, text: str, submit: Callable[[str], str], editor: Callable[[str], tuple[str, Path]] = run_editor
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
