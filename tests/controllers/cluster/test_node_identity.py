"""The id of a node and the file that keeps it."""

import os
from pathlib import Path
from typing import Any

import pytest

from nodespan.controllers.cluster.node_identity import FILE_NAME, NodeIdentityController, format_file, parse_file
from nodespan.resources.cluster import LOCAL, Identity
from nodespan.runtime.testing.kit import running
from tests.support.vectors import load

KNOWN: dict[str, Any] = next(case for case in load("identity_file") if case["filename"] == FILE_NAME)


def test_the_identity_file_is_compatible_with_talos() -> None:
    assert format_file(KNOWN["node_id"]) == KNOWN["yaml"]
    assert parse_file(KNOWN["yaml"], Path(FILE_NAME)) == KNOWN["node_id"]


async def test_an_id_is_generated_once_and_kept(tmp_path: Path) -> None:
    async with running(NodeIdentityController(tmp_path)) as node:
        made = (await node.eventually(Identity, LOCAL)).spec.node_id
    file = tmp_path / FILE_NAME
    assert f"{file.stat().st_mode & 0o777:04o}" == KNOWN["mode"]
    assert os.listdir(tmp_path) == [FILE_NAME]
    async with running(NodeIdentityController(tmp_path)) as node:
        assert (await node.eventually(Identity, LOCAL)).spec.node_id == made


async def test_two_nodes_have_two_ids(tmp_path: Path) -> None:
    ids = set()
    for name in "ab":
        (tmp_path / name).mkdir()
        async with running(NodeIdentityController(tmp_path / name)) as node:
            ids.add((await node.eventually(Identity, LOCAL)).spec.node_id)
    assert len(ids) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"nodeId: ''", b"nodeId: [1]", b"a: b: c", b"nodeId: gvqfS27LxD58", b"\xff\xfe", b"- 1"]
)
async def test_a_damaged_identity_file_is_kept_and_the_error_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / FILE_NAME
    file.write_bytes(content)
    async with running(NodeIdentityController(tmp_path)) as node:
        error = str(await node.crashed())
        assert str(file) in error
        assert "restore" in error
        assert "remove" in error
        assert node.state.find(Identity, LOCAL) is None
        assert file.read_bytes() == content
