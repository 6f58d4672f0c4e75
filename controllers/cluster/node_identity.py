"""cluster.NodeIdentityController: the id of this node, generated once and kept in a file."""

import secrets
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import trio

from nodespan.controllers.common.secret_file import write_secret
from nodespan.discovery.node_id import NodeIdError, decode_node_id, new_node_id
from nodespan.resources.cluster import LOCAL, Identity, IdentitySpec
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.controller import Controller, ControllerContext, exclusive

FILE_NAME = "node-identity.yaml"
_KEY = "nodeId"


class NodeIdentityFileError(Exception):
    """The identity file cannot be used. The text says what is wrong with it and what to do."""


def format_file(node_id: str) -> str:
    """The text of the file."""
    return dump({_KEY: node_id})


def parse_file(text: str, path: Path) -> str:
    """The node id in a file. Raises NodeIdentityFileError."""
    what_to_do = (
        f"restore {path} from a backup, or remove it to get a new id: "
        "to the others this node is a new one then, and the old one is gone after half an hour"
    )
    node_id: object = text.removeprefix(f"{_KEY}: ").removesuffix("\n")
    if text == format_file(str(node_id)):
        # As it was written here: no parser is needed, as every start of an agent would.
        data: object = {_KEY: node_id}
    else:
        data = _parse_yaml(text, path, what_to_do)
    node_id = data.get(_KEY) if isinstance(data, dict) else None
    if not node_id or not isinstance(node_id, str):
        raise NodeIdentityFileError(f"{path} is damaged, it holds no {_KEY}: {what_to_do}")
    try:
        decode_node_id(node_id)
    except NodeIdError as error:
        raise NodeIdentityFileError(f"{path} is damaged, {error}: {what_to_do}") from error
    return node_id


def _parse_yaml(text: str, path: Path, what_to_do: str) -> object:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(StringIO(text))
    except YAMLError as error:
        raise NodeIdentityFileError(f"{path} is damaged, it is not YAML: {what_to_do}") from error


def load_or_create(path: Path, random_bytes: Callable[[int], bytes]) -> str:
    """The node id of the file, which is made if there is none. Blocks. Raises NodeIdentityFileError, OSError."""
    try:
        return parse_file(path.read_text(), path)
    except FileNotFoundError:
        node_id = new_node_id(random_bytes)
        write_secret(path, format_file(node_id))
        return node_id
    except UnicodeDecodeError as error:
        raise NodeIdentityFileError(
            f"{path} is damaged, it is not text: restore it from a backup, or remove it to get a new id"
        ) from error


class NodeIdentityController(Controller):
    """Writes `local`. The file outlives everything but the removal of the state directory."""

    name = "cluster.NodeIdentityController"
    outputs = (exclusive(Identity),)

    def __init__(self, state_dir: Path, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._path = state_dir / FILE_NAME
        self._random_bytes = random_bytes

    async def run(self, ctx: ControllerContext) -> None:
        """Read the file, and again on a reload request."""
        async for _ in ctx:
            node_id = await trio.to_thread.run_sync(load_or_create, self._path, self._random_bytes)
            await ctx.put(Identity, LOCAL, IdentitySpec(node_id=node_id))
