"""What `nodespan validate` says about a file."""

import sys
from pathlib import Path

from controllers.config.loading import load_bytes, read_and_load
from controllers.config.problem import render


def check_file(path: Path | None) -> tuple[str, bool]:
    """The text to show, and whether the file may be used; None stands for standard input. Blocks on reading."""
    if path is None:
        loaded, name = load_bytes(sys.stdin.buffer.read(), name="<stdin>"), "<stdin>"
    else:
        loaded, name = read_and_load(path), str(path)
    parts = [render(problem, loaded.config.text) + "\n\n" for problem in loaded.problems]
    parts += [
        f"{name}:{ignored.line}: {ignored.path} is not managed by nodespan, ignored\n" for ignored in loaded.ignored
    ]
    errors, warnings = len(loaded.errors), len(loaded.problems) - len(loaded.errors)
    verdict = "is not valid" if errors else "is valid"
    parts.append(f"{name} {verdict}: {_count(errors, 'error')}, {_count(warnings, 'warning')}\n")
    return "".join(parts), not errors


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
