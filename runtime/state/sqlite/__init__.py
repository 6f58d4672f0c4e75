"""The state in a SQLite file: it survives the process."""

from nodespan.runtime.state.sqlite.state import SqliteState, open_sqlite

__all__ = ["SqliteState", "open_sqlite"]
