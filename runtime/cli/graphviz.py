"""Images of graphs, laid out by Graphviz's command `dot`, which need not be installed for anything else."""

import subprocess

from nodespan.runtime.cli.errors import CommandError

# Arrows run from left to right. Of the fonts, viewers take the first that they have.
_LAYOUT = (
    *("-Grankdir=LR", "-Granksep=1.2", "-Gnodesep=0.12", "-Gbgcolor=white", "-Gpad=0.2"),
    *("-Nfontname=Helvetica,Arial,sans-serif", "-Efontname=Helvetica,Arial,sans-serif"),
    *("-Nfontsize=12", "-Efontsize=10", "-Nheight=0.35", "-Nmargin=0.12,0.04", "-Ecolor=#44586a", "-Earrowsize=0.7"),
)


def render(graph: str, form: str) -> bytes:
    """The image of a graph in Graphviz's language, in a form that `dot -T` knows. Blocks. Raises CommandError."""
    command = ["dot", f"-T{form}", *_LAYOUT]
    try:
        done = subprocess.run(command, input=graph.encode(), capture_output=True, check=False)
    except FileNotFoundError:
        raise CommandError(
            f"-o {form} needs Graphviz, whose command dot is not installed: "
            "apt install graphviz (dnf, apk: the same name); -o dot and -o mermaid do without it"
        ) from None
    except OSError as error:
        raise CommandError(f"-o {form} needs Graphviz, whose command dot cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise CommandError(f"Graphviz failed: dot exited with {done.returncode}: {said}")
    return done.stdout
