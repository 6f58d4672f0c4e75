"""A text in the user's editor."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from nodespan.runtime.cli.errors import CommandError

_VARIABLES = ("VISUAL", "EDITOR")


def run_editor(text: str, *variables: str) -> tuple[int, Path]:
    """Open a text in the editor that one of the variables, or else VISUAL or EDITOR, names.

    Returns its exit status, and the file that holds the text as the user left it; to remove that is the caller's.
    Raises CommandError if the editor cannot be started.
    """
    editor = next(filter(None, map(os.environ.get, (*variables, *_VARIABLES))), "vi")
    descriptor, name = tempfile.mkstemp(prefix="nodespan-edit-", suffix=".yaml")
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        return subprocess.run([*shlex.split(editor), name], check=False).returncode, Path(name)
    except OSError as error:
        Path(name).unlink()
        raise CommandError(f"the editor {editor!r}: {error.strerror}: set VISUAL or EDITOR") from error
