"""kubespan.IdentityController: the key pair of this node, made once and kept in a file, and its address in the mesh."""

import secrets
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import trio

from nodespan.controllers.common.secret_file import write_secret
from nodespan.controllers.kubespan.addressing import Purpose, cluster_prefix, node_address
from nodespan.kernel.wireguard.keys import KEY_SIZE, new_private_key, public_key_of
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
)
from nodespan.resources.network import FIRST_HARDWARE_ADDRESS_ID, HardwareAddr
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak

FILE_NAME = "kubespan-identity.yaml"


class IdentityFileError(Exception):
    """The identity file cannot be used. The text says what is wrong with it and what to do, and quotes none of it."""


def new_keys(random_bytes: bytes) -> KubeSpanIdentitySpec:
    """A key pair from 32 random bytes, without an address yet."""
    private = new_private_key(random_bytes)
    return KubeSpanIdentitySpec(private_key=private, public_key=public_key_of(private))


def with_address(keys: KubeSpanIdentitySpec, cluster_id: str, mac: str) -> KubeSpanIdentitySpec:
    """The key pair with the address that the cluster's id and the first hardware address give."""
    subnet = cluster_prefix(cluster_id, Purpose.KUBESPAN)
    return KubeSpanIdentitySpec(
        address=f"{node_address(subnet, mac)}/128",
        subnet=str(subnet),
        private_key=keys.private_key,
        public_key=keys.public_key,
    )


def format_file(keys: KubeSpanIdentitySpec) -> str:
    """The text of the file: the keys only, for the address follows from the cluster and the network card."""
    return dump({"address": "", "subnet": "", "privateKey": keys.private_key, "publicKey": keys.public_key})


def parse_file(text: str, path: Path) -> KubeSpanIdentitySpec:
    """The key pair in a file. Raises IdentityFileError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    what_to_do = (
        f"restore {path} from a backup, or remove it to get a new key pair: "
        "the peers accept the new one as soon as they receive it from discovery"
    )
    try:
        data = YAML(typ="safe", pure=True).load(StringIO(text))
    except YAMLError as error:
        raise IdentityFileError(f"{path} is damaged, it is not YAML: {what_to_do}") from error
    if not isinstance(data, dict) or not data.get("privateKey"):
        raise IdentityFileError(f"{path} is damaged, it holds no private key: {what_to_do}")
    try:
        public = public_key_of(str(data["privateKey"]))
    except ValueError as error:
        raise IdentityFileError(f"{path} is damaged, its private key cannot be used, {error}: {what_to_do}") from error
    if data.get("publicKey", public) != public:
        raise IdentityFileError(f"{path} is damaged, its two keys do not belong together: {what_to_do}")
    return KubeSpanIdentitySpec(private_key=str(data["privateKey"]), public_key=public)


def load_or_create(path: Path, random_bytes: Callable[[int], bytes]) -> KubeSpanIdentitySpec:
    """The key pair of the file, which is made if there is none. Blocks. Raises IdentityFileError, OSError."""
    try:
        return parse_file(path.read_text(), path)
    except FileNotFoundError:
        keys = new_keys(random_bytes(KEY_SIZE))
        write_secret(path, format_file(keys))
        return keys
    except UnicodeDecodeError as error:
        raise IdentityFileError(f"{path} is damaged, it is not text: restore it from a backup, or remove it") from error


class IdentityController(Controller):
    """Writes `local` while KubeSpan is enabled and the node has a network card.

    An identity that is there is kept as it is: another network card or cluster id counts from the next time that the
    feature is switched on. The file stays when the feature is switched off.
    """

    name = "kubespan.IdentityController"
    inputs = (weak(KubeSpanConfig, KUBESPAN_CONFIG_ID), weak(HardwareAddr, FIRST_HARDWARE_ADDRESS_ID))
    outputs = (exclusive(KubeSpanIdentity),)

    def __init__(self, state_dir: Path, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._path = state_dir / FILE_NAME
        self._random_bytes = random_bytes

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration and the network card."""
        async for _ in ctx:
            async with ctx.tracked_outputs(KubeSpanIdentity):
                config, first = (
                    ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID),
                    ctx.find(HardwareAddr, FIRST_HARDWARE_ADDRESS_ID),
                )
                if config is None or not config.spec.enabled or not config.spec.cluster_id or first is None:
                    continue
                known = ctx.find(KubeSpanIdentity, LOCAL)
                if known is None:
                    keys = await trio.to_thread.run_sync(load_or_create, self._path, self._random_bytes)
                    identity = with_address(keys, config.spec.cluster_id, first.spec.hardware_addr)
                else:
                    identity = known.spec
                await ctx.put(KubeSpanIdentity, LOCAL, identity)
