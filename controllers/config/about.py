"""What the configuration files of an agent are, and which states they name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nodespan.runtime.about import About

if TYPE_CHECKING:
    from nodespan.runtime.state.opening import Mount


def _mounts(config: Sequence[Path], state_dir: Path) -> "Sequence[Mount]":
    # The import is late, for the command line passes here too.
    from nodespan.controllers.config.files.mounts import read_mounts

    return read_mounts(config, state_dir)


ABOUT = About(
    option_help={
        "--config": "the machine configuration, or a directory of .yaml files; may be repeated, all are merged; "
        "read again when it changes (without it: the configuration of the last `nodespan apply`)"
    },
    mounts=_mounts,
)
