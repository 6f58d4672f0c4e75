"""The state in a SQLite file: what survives, who else may use it, what a full disk and a damaged file do."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from nodespan.runtime.errors import ConflictError, InvalidBookmarkError, StateOpenError, UnavailableError
from nodespan.runtime.resource import Phase, Resource, ResourceType
from nodespan.runtime.state.meta import register_types
from nodespan.runtime.state.sqlite import SqliteState, database, open_sqlite
from nodespan.runtime.testing.state_suite import Path as PathType
from tests.runtime.state.paths import KIND, path, read
from tests.support.deadlines import PATIENCE


@attrs.frozen
class NoteSpec:
    """Some text."""

    text: str = ""


@attrs.frozen
class LongerNoteSpec:
    """What became of it."""

    lines: tuple[str, ...] = ()


NAME = "Notes.test.nodespan.dev"
Note = ResourceType(NAME, NoteSpec, namespace="default")
LongerNote = ResourceType(NAME, LongerNoteSpec, namespace="default")
SecretNote = ResourceType(NAME, NoteSpec, namespace="default", sensitive=True)


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []

    def error(self, event: str, **facts: Any) -> None:
        self.errors.append({"event": event, **facts})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


def content(of: Path) -> bytes:
    """Its bytes; none of a directory."""
    return of.read_bytes() if of.is_file() else b""


def put(content: bytes, file: Path) -> None:
    """A file, in a directory that may be missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def move(file: Path, to: Path) -> Path:
    """Another name, in a directory that may be missing."""
    to.parent.mkdir(exist_ok=True)
    return file.rename(to)


def allow(file: Path, permissions: int) -> None:
    """Change them."""
    file.chmod(permissions)


def overwrite(file: Path, start: int, length: int) -> None:
    """As a bad disk does."""
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(b"\xff" * length)


def mode(of: Path) -> int:
    """Its permissions."""
    return stat.S_IMODE(of.stat().st_mode)


def query(file: Path, sql: str, *values: object) -> list[Any]:
    """What another program does with the file."""
    with closing(sqlite3.connect(file)) as connection, connection:
        return connection.execute(sql, values).fetchall()


async def _written(file: Path, *resources: Resource[Any], **options: Any) -> None:
    async with open_sqlite(file, synchronous="NORMAL", **options) as state:
        for resource in resources:
            await state.create(resource)


# What survives.


async def test_everything_of_a_resource_survives(file: Path) -> None:
    note = Note.new("a/b \N{SNOWMAN}", NoteSpec("x"), labels={"app": "web"}, annotations={"why": "ø"})
    async with open_sqlite(file, types=[Note], synchronous="NORMAL") as state:
        await state.create(note, owner="owner")
        await state.add_finalizer(Note, note.id, "B", "A")
        assert not await state.teardown(Note, note.id, owner="owner")
        written = state.get(Note, note.id)
    async with open_sqlite(file, types=[Note]) as state:
        found = state.get(Note, note.id)
        assert found == written
        assert attrs.astuple(found.metadata) == attrs.astuple(written.metadata)  # times, and the order of finalizers
        assert found.metadata.phase is Phase.TEARING_DOWN
        assert found.metadata.version == 3
        assert list(state.kinds()) == [Note.kind]


async def test_writes_at_the_same_time_are_all_there(file: Path) -> None:
    async with open_sqlite(file, types=[PathType], synchronous="NORMAL") as state, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(state.create, path(str(number)))
    async with open_sqlite(file, types=[PathType]) as state:
        assert len(state.list(KIND)) == 100


async def test_a_resource_that_was_made_again_starts_at_version_1(file: Path) -> None:
    async with open_sqlite(file, types=[PathType], synchronous="NORMAL") as state:
        first = await state.create(path("a"))
        await state.update(first)
        await state.destroy(KIND, "a")
        await state.create(path("a"))
    async with open_sqlite(file, types=[PathType]) as state:
        assert state.get(KIND, "a").metadata.version == 1
        with pytest.raises(ConflictError):
            await state.update(first.evolve(version=2))


async def test_a_bookmark_does_not_survive(file: Path) -> None:
    async with open_sqlite(file, types=[PathType]) as state, state.watch_kind(KIND) as watch:
        await state.create(path("a"))
        bookmark = (await read(watch)).bookmark
    async with open_sqlite(file, types=[PathType]) as state:
        with pytest.raises(InvalidBookmarkError):
            async with state.watch_kind(KIND, start_from=bookmark):
                pass


async def test_a_cancelled_write_is_shown_if_and_only_if_it_was_committed(file: Path) -> None:
    async with open_sqlite(file, types=[PathType]) as state:
        with trio.CancelScope() as scope:
            scope.cancel()
            await state.create(path("never begun"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(state.create, path("given up"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        # The next write of that resource waits for the one that nobody waits for any more.
        with pytest.raises(ConflictError):
            await state.create(path("given up"))
        shown = [resource.id for resource in state.list(KIND)]
    async with open_sqlite(file, types=[PathType]) as state:
        assert [resource.id for resource in state.list(KIND)] == shown == ["given up"]


async def test_the_last_writes_are_committed_at_the_end(file: Path) -> None:
    async with trio.open_nursery() as nursery:
        async with open_sqlite(file, types=[PathType]) as state:
            nursery.start_soon(state.create, path("a"))
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(UnavailableError, match="is closed"):
            await state.create(path("b"))
        assert [resource.id for resource in state.list(KIND)] == ["a"]
    async with open_sqlite(file, types=[PathType]) as state:
        assert [resource.id for resource in state.list(KIND)] == ["a"]


# Types.


async def test_resources_of_an_unknown_type_are_kept_until_it_is_known(file: Path) -> None:
    await _written(file, path("a"), Note.new("n", NoteSpec("x")), types=[PathType, Note])
    async with open_sqlite(file, types=[PathType]) as state:
        assert state.unknown_types() == {NAME: 1}
        assert state.find(Note, "n") is None
        with pytest.raises(ValueError, match="its type is unknown"):
            await state.create(Note.new("m", NoteSpec()))
        await state.create(path("b"))
    async with open_sqlite(file, synchronous="NORMAL") as state, state.watch_kind(Note) as watch:
        await register_types(state, [Note])
        assert state.get(Note, "n").spec == NoteSpec("x")
        event = await read(watch)
        assert event.resource == state.get(Note, "n")
        assert state.unknown_types() == {PathType.name: 2}


async def test_what_the_type_no_longer_understands_is_moved_and_named(file: Path) -> None:
    await _written(file, Note.new("n", NoteSpec("secret text")), types=[Note])
    log = Log()
    async with open_sqlite(file, types=[LongerNote], synchronous="NORMAL", log=log) as state:
        assert state.list(LongerNote) == []
        await state.create(LongerNote.new("n", LongerNoteSpec(("new",))))
    (error,) = log.errors
    assert error["resource"] == f"{NAME}(default/n)"
    assert "secret text" not in str(error)
    assert query(file, "SELECT id, spec FROM set_aside") == [("n", b'{"text":"secret text"}')]
    async with open_sqlite(file, types=[LongerNote]) as state:
        assert state.get(LongerNote, "n").spec == LongerNoteSpec(("new",))


async def test_a_spec_that_cannot_be_read_back_is_refused(file: Path) -> None:
    @attrs.frozen
    class OddSpec:
        number: int = 0

        def to_plain(self) -> str:
            return "odd"

    odd = ResourceType("Odds.test.nodespan.dev", OddSpec, namespace="default")
    async with open_sqlite(file, types=[odd]) as state:
        with pytest.raises(ValueError, match="OddSpec cannot be stored"):
            await state.create(odd.new("a", OddSpec()))
        assert state.find(odd, "a") is None


# Secrets.


async def test_secrets_are_sealed_and_their_key_is_their_users_own(file: Path) -> None:
    await _written(file, SecretNote.new("n", NoteSpec("hush")), types=[SecretNote])
    assert b"hush" not in content(file)
    key = Path(f"{file}.key")
    assert mode(key) == 0o600
    async with open_sqlite(file, types=[SecretNote]) as state:
        assert state.get(SecretNote, "n").spec == NoteSpec("hush")
    allow(key, 0o640)
    with pytest.raises(StateOpenError, match="others may read"):
        await _written(file, types=[SecretNote])
    moved = move(key, file.parent / "elsewhere.key")
    allow(moved, 0o600)
    with pytest.raises(StateOpenError, match="is missing"):
        await _written(file, types=[SecretNote])
    assert content(key) == b""
    async with open_sqlite(file, types=[SecretNote], key=moved) as state:
        assert state.get(SecretNote, "n").spec == NoteSpec("hush")


async def test_another_key_is_refused_before_anything_is_read(file: Path) -> None:
    await _written(file, SecretNote.new("n", NoteSpec("hush")), types=[SecretNote])
    await _written(file.parent / "other.db", SecretNote.new("n", NoteSpec("hush")), types=[SecretNote])
    with pytest.raises(StateOpenError, match="is not the key"):
        await _written(file, types=[SecretNote], key=file.parent / "other.db.key")
    async with open_sqlite(file, types=[SecretNote]) as state:
        assert state.get(SecretNote, "n").spec == NoteSpec("hush")


async def test_the_key_may_be_a_credential_of_systemd(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await _written(file, SecretNote.new("n", NoteSpec("hush")), types=[SecretNote])
    credentials = file.parent / "credentials"
    move(Path(f"{file}.key"), credentials / "nodespan-state.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    async with open_sqlite(file, types=[SecretNote]) as state:
        assert state.get(SecretNote, "n").spec == NoteSpec("hush")


async def test_sealed_rows_cannot_change_places(file: Path) -> None:
    notes = [SecretNote.new(id, NoteSpec(f"secret {id}")) for id in ("a", "b", "c")]
    await _written(file, *notes, types=[SecretNote])
    query(file, "UPDATE resources SET spec = (SELECT spec FROM resources WHERE id = 'a') WHERE id = 'b'")
    query(file, "UPDATE resources SET version = 7 WHERE id = 'c'")
    log = Log()
    async with open_sqlite(file, types=[SecretNote], log=log) as state:
        assert [note.id for note in state.list(SecretNote)] == ["a"]
    assert [error["resource"] for error in log.errors] == [f"{NAME}(default/b)", f"{NAME}(default/c)"]


async def test_what_became_a_secret_is_sealed_when_it_is_read(file: Path) -> None:
    await _written(file, Note.new("n", NoteSpec("hush")), types=[Note])
    async with open_sqlite(file, types=[SecretNote]) as state:
        assert state.get(SecretNote, "n").spec == NoteSpec("hush")
    assert query(file, "SELECT sealed FROM resources") == [(1,)]
    async with open_sqlite(file, types=[SecretNote]) as state:
        assert state.get(SecretNote, "n").spec == NoteSpec("hush")


# The file.


async def test_the_file_is_its_users_own_and_one_process_has_it(file: Path) -> None:
    async with open_sqlite(file, types=[PathType]) as state:
        await state.create(path("a"))
        assert [mode(each) for each in sorted(file.parent.iterdir())] == [0o600] * len(list(file.parent.iterdir()))
        assert mode(file.parent) == 0o700
        with pytest.raises(StateOpenError, match=r"another process \(pid \d+\) uses"):
            await _written(file, types=[PathType])
        with (
            pytest.raises(sqlite3.OperationalError, match="locked"),
            closing(sqlite3.connect(file, timeout=0)) as other,
        ):
            other.execute("SELECT * FROM resources")


async def test_a_newer_format_is_refused_and_nothing_changes(file: Path) -> None:
    await _written(file, path("a"), types=[PathType])
    query(file, "PRAGMA user_version = 99")
    before = content(file)
    with pytest.raises(StateOpenError, match="has format 99, and this nodespan reads formats up to 1"):
        await _written(file, types=[PathType])
    assert content(file) == before


async def test_an_older_format_is_brought_forward_and_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await _written(file, path("a"), types=[PathType])
    newer = (*database.FORMATS, ("ALTER TABLE resources ADD COLUMN colour TEXT", "UPDATE resources SET colour = 'red'"))
    with monkeypatch.context() as patch:
        patch.setattr(database, "FORMATS", newer)
        async with open_sqlite(file, types=[PathType]) as state:
            assert [resource.id for resource in state.list(KIND)] == ["a"]
            await state.create(path("b"))
    assert query(file, "SELECT id, colour FROM resources ORDER BY id") == [("a", "red"), ("b", None)]
    with pytest.raises(StateOpenError, match="has format 2"):
        await _written(file, types=[PathType])
    backup = Path(f"{file}.format-1")
    assert mode(backup) == 0o600
    async with open_sqlite(backup, types=[PathType]) as state:
        assert [resource.id for resource in state.list(KIND)] == ["a"]


@pytest.mark.parametrize(
    ("what", "refusal"),
    [
        ("text", "is a file of something else"),
        ("database", "is a database of another program"),
        ("directory", "is not a regular file"),
    ],
)
async def test_a_file_of_something_else_is_left_alone(file: Path, what: str, refusal: str) -> None:
    if what == "text":
        put(b"root:x:0:0:root:/root:/bin/sh\n" * 100, file)
    elif what == "database":
        put(b"", file)
        query(file, "CREATE TABLE theirs (x)")
    else:
        put(b"", file / "in it")
    before = content(file)
    # Also when it is tried again, as an agent does.
    for _ in range(2):
        with pytest.raises(StateOpenError, match=refusal):
            await _written(file, types=[PathType])
        assert content(file) == before


# Damage.


async def _damaged(file: Path, start: int, length: int) -> None:
    await _written(file, *(Note.new(f"{number:04}", NoteSpec("x" * 100)) for number in range(400)), types=[Note])
    overwrite(file, start, length)


async def test_a_damaged_file_is_set_aside_and_what_is_readable_goes_on(file: Path) -> None:
    await _damaged(file, 10 * 4096, 2 * 4096)
    damaged = content(file)
    log = Log()
    async with open_sqlite(file, types=[Note], log=log) as state:
        (error,) = log.errors
        assert content(Path(error["set_aside"])) == damaged
        recovered = state.list(Note)
        # Two pages of some twenty resources each are lost.
        assert 300 < len(recovered) == error["recovered"] < 400
        assert all(note.spec == NoteSpec("x" * 100) for note in recovered)
        await state.update(recovered[0].with_spec(NoteSpec("goes on")))
    log = Log()
    async with open_sqlite(file, types=[Note], log=log) as state:
        assert state.list(Note)[0].spec == NoteSpec("goes on")
        assert len(state.list(Note)) == len(recovered)
        assert log.errors == []


async def test_text_that_is_no_utf8_is_damage(file: Path) -> None:
    await _written(file, Note.new("a", NoteSpec("1")), Note.new("b", NoteSpec("2")), types=[Note])
    query(file, "UPDATE resources SET owner = CAST(x'61ff62' AS TEXT) WHERE id = 'a'")
    async with open_sqlite(file, types=[Note], log=Log()) as state:
        assert [note.id for note in state.list(Note)] == ["b"]
    assert [found.name for found in file.parent.iterdir() if ".damaged-" in found.name]


async def test_a_recovery_that_fails_leaves_everything_for_the_next(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _damaged(file, 3 * 4096, 100)
    before = content(file)
    with monkeypatch.context() as patch:
        patch.setattr(database, "UPSERT", "INSERT INTO nosuch VALUES (1)")
        with pytest.raises((StateOpenError, sqlite3.Error)):
            async with open_sqlite(file, types=[Note], log=Log()):
                pass
    assert content(file) == before
    async with open_sqlite(file, types=[Note], log=Log()) as state:
        assert len(state.list(Note)) > 100


async def test_what_only_the_log_of_a_damaged_file_has_is_recovered_too(file: Path, tmp_path: Path) -> None:
    await _damaged(file, 10 * 4096, 0)
    copy = tmp_path / "a copy?" / "state.db"
    async with open_sqlite(file, types=[Note]) as state:
        await state.create(Note.new("new", NoteSpec("in the log")))
        put(content(Path(f"{file}.lock")), Path(f"{copy}.lock"))
        put(content(Path(f"{file}-wal")), Path(f"{copy}-wal"))
        put(content(file), copy)
    overwrite(copy, 10 * 4096, 2 * 4096)
    log = Log()
    async with open_sqlite(copy, types=[Note], log=log) as state:
        assert state.get(Note, "new").spec == NoteSpec("in the log")
        assert 300 < len(state.list(Note)) < 401
    assert len(log.errors) == 1


async def test_a_file_of_which_nothing_is_readable_is_set_aside_too(file: Path) -> None:
    await _damaged(file, 0, 4096)
    log = Log()
    async with open_sqlite(file, types=[Note], log=log) as state:
        assert state.list(Note) == []
        await state.create(Note.new("new", NoteSpec()))
    (error,) = log.errors
    assert len(content(Path(error["set_aside"]))) > 4096
    assert error["recovered"] == 0


async def test_an_empty_file_is_a_new_one(file: Path) -> None:
    put(b"", file)
    await _written(file, path("a"), types=[PathType])
    async with open_sqlite(file, types=[PathType]) as state:
        assert [resource.id for resource in state.list(KIND)] == ["a"]


# The disk.


def _limit(state: SqliteState, pages: int) -> None:
    """As if the disk had room for so many pages more; 0 for as many as there may be."""
    assert state._writer is not None
    connection = state._writer._connection
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {count + pages if pages else 1 << 30}")


async def test_a_full_disk_fails_writes_and_nothing_else_and_they_go_on_when_there_is_room(file: Path) -> None:
    async with open_sqlite(file, types=[Note], synchronous="NORMAL") as state, state.watch_kind(Note) as watch:
        small = await state.create(Note.new("small", NoteSpec("x")))
        await read(watch)
        _limit(state, 1)
        failed = []

        async def attempt(number: int) -> None:
            try:
                await state.create(Note.new(f"large {number}", NoteSpec("x" * 20_000)))
            except UnavailableError as error:
                failed.append(str(error))

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(attempt, number)
        assert failed == [f"the disk of {file} is full: nothing was written"] * 3
        assert state.list(Note) == [small]
        _limit(state, 0)
        large = await state.create(Note.new("large 0", NoteSpec("x" * 20_000)))
        assert (await read(watch)).resource == large
    async with open_sqlite(file, types=[Note]) as state:
        assert state.list(Note) == [large, small]


async def test_a_file_that_cannot_be_opened_yet_is_an_outage(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespan.runtime.state.sqlite.state._RETRY_INTERVAL", 0.01)
    await _written(file, path("a"), types=[PathType])
    log = Log()
    async with open_sqlite(file, types=[PathType]) as holder:
        waiting = open_sqlite(file, types=[PathType], wait=True, log=log)
        state = await waiting.__aenter__()
        outage = state.outage("default")
        assert outage is not None
        assert not outage.is_loaded
        assert "uses" in outage.reason
        with pytest.raises(UnavailableError, match="uses"):
            await state.create(path("b"))
        await holder.create(path("c"))
    with trio.fail_after(PATIENCE):
        await state.until_available("default")
    assert state.outage("default") is None
    assert [resource.id for resource in state.list(KIND)] == ["a", "c"]
    await state.create(path("b"))
    await waiting.__aexit__(None, None, None)
    assert len(log.errors) == 1  # however often it was tried
