"""The state in a SQLite file: it survives the process."""

from nodespan.runtime.state.sqlite.database import StateOpenError
from nodespan.runtime.state.sqlite.state import SqliteState, open_sqlite

__all__ = ["SqliteState", "StateOpenError", "open_sqlite"]
