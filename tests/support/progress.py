"""The progress file of a tier: which tests were collected and which finished, so that a run that is cut off is told."""

import os
from pathlib import Path

# The environment variable with the path of the file, if one is to be written.
VARIABLE = "NODESPAN_TEST_PROGRESS"
COLLECTED, FINISHED = "collected", "finished"


def note(event: str, *nodeids: str) -> None:
    """Append a line for each of these tests, where a progress file is to be written."""
    if path := os.environ.get(VARIABLE):
        with Path(path).open("a") as file:
            file.writelines(f"{event} {nodeid}\n" for nodeid in nodeids)


def unfinished(progress: Path) -> list[str]:
    """The tests that a run collected and did not finish, in their order."""
    if not progress.exists():
        return ["all: the run did not come to collecting them"]
    notes = [line.split(" ", 1) for line in progress.read_text().splitlines()]
    finished = {name for event, name in notes if event == FINISHED}
    # Each worker of a distributed run collects all of them.
    return [name for name in dict.fromkeys(name for event, name in notes if event == COLLECTED) if name not in finished]
