"""What clients of the socket may ask the controller of the configuration for, and the exit statuses of the answers."""

from typing import Final

APPLY: Final = "config.apply"
DRY_RUN: Final = "config.dry-run"
CONFIRM: Final = "config.confirm"
CANCEL: Final = "config.cancel"

APPLIED, REFUSED, APPLIED_WITH_PROBLEMS = 0, 1, 2
