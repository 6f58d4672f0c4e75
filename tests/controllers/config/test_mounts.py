"""Which namespaces a configuration keeps on states of their own."""

from pathlib import Path

from nodespan.controllers.config.about import ABOUT
from nodespan.runtime.state.opening import Mount

STATES = """\
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
states:
  - namespaces: [notes, wishes]
    url: sqlite:notes.db
    synchronous: NORMAL
    key: /etc/notes.key
  - namespaces: [notes, team]
    url: "memory:"
"""
MOUNTS = (
    Mount(
        namespaces=("notes", "wishes"),
        url="sqlite:notes.db",
        settings={"synchronous": "NORMAL", "key": "/etc/notes.key"},
    ),
    # A namespace is on one state: the first.
    Mount(namespaces=("team",), url="memory:", settings={"synchronous": "FULL"}),
)


def written(path: Path, text: str) -> Path:
    """A file."""
    path.write_text(text)
    return path


def test_they_are_those_of_the_files(tmp_path: Path) -> None:
    assert ABOUT.mounts([written(tmp_path / "a.yaml", STATES)], tmp_path) == MOUNTS


def test_without_files_they_are_those_of_the_configuration_applied_last(tmp_path: Path) -> None:
    assert ABOUT.mounts([], tmp_path) == ()
    written(tmp_path / "config.yaml", STATES)
    assert ABOUT.mounts([], tmp_path) == MOUNTS


def test_a_mistake_elsewhere_does_not_move_resources_to_another_place(tmp_path: Path) -> None:
    text = f"machine: {{network: {{hostname: [no]}}}}\n---\n{STATES}"
    assert ABOUT.mounts([written(tmp_path / "a.yaml", text)], tmp_path) == MOUNTS


def test_what_is_no_state_is_left_out(tmp_path: Path) -> None:
    text = STATES.replace("sqlite:notes.db", "nowhere")
    (mount,) = ABOUT.mounts([written(tmp_path / "a.yaml", text)], tmp_path)
    assert mount.namespaces == ("team",)


def test_most_configurations_have_none(tmp_path: Path) -> None:
    assert ABOUT.mounts([written(tmp_path / "a.yaml", "machine: {}\n")], tmp_path) == ()
    assert ABOUT.mounts([tmp_path / "missing.yaml"], tmp_path) == ()
