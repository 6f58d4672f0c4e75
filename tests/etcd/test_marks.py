"""Bookmarks of a kind at etcd, in the process that made them and in another one, while their histories grow."""

import random

import attrs
import pytest

from nodespan.etcd.marks import EtcdCollection
from nodespan.runtime.errors import InvalidBookmarkError
from nodespan.runtime.resource import Resource
from nodespan.runtime.state.collection import History
from tests.runtime.state.paths import KIND, path


@pytest.mark.parametrize("seed", range(20))
def test_a_bookmark_resumes_behind_its_change_in_every_process_that_reaches_back_that_far(seed: int) -> None:
    chance = random.Random(seed)
    revision, moment = 1, 0
    sizes = chance.choices((4, 8, 16, 64), k=2)
    processes = [
        EtcdCollection(KIND, History(4, size, 0), bytes([number] * 8), lambda: revision)
        for number, size in enumerate(sizes)
    ]
    current: Resource[object] | None = None
    bookmarks: list[bytes] = []
    for version in range(1, 150):
        revision += chance.choice((1, 1, 3))
        moment += chance.choice((0, 10**9, 400 * 10**9))
        new = path("disk")
        metadata = attrs.evolve(new.metadata, version=version, created=moment, updated=moment)
        for process in processes:
            process.at(revision)
            changed = Resource(metadata, new.spec)
            if current is None:
                process.put_new(changed)
            else:
                process.put(changed, current)
        current = changed
        bookmarks.append(chance.choice(processes).bookmark(version - 1))
        for process in processes:
            oldest = process.write_position - process.room
            for place in chance.sample(range(version), min(version, 5)):
                try:
                    assert process.position_after(bookmarks[place], lowest=0) == place + 1
                    assert place + 1 >= oldest
                except InvalidBookmarkError:
                    assert place < oldest
            for position in range(max(oldest, 0), version):
                event = process.event(position).resource
                assert event is not None
                assert event.metadata.version == position + 1
