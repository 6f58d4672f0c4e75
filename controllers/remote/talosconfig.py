"""The client's configuration of the original: where clusters are, and with which certificate to ask them.

Files of the original work as they are, and what is written here works with the original. Blocks on the disk.
"""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.named_file import read_named
from nodespan.runtime.whole_file import make_directory, replace_file

_LARGEST = 1 << 20
_VARIABLE, _HOME_VARIABLE = "TALOSCONFIG", "TALOS_HOME"
_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/talos.dev/config")
_KNOWN: Final = ("endpoints", "nodes", "ca", "crt", "key", "cluster", "proxy-url", "target")


class TalosConfigError(ValueError):
    """A client's configuration cannot be used. The text says which, why, and what to do; it shows no keys."""


@attrs.frozen(kw_only=True)
class Context:
    """One cluster: where to connect, which nodes to ask by default, whom to trust, and who the client is.

    `authority`, `certificate` and `key` are PEM, empty if not given. `rest` is what only the original reads.
    """

    endpoints: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    authority: bytes = b""
    certificate: bytes = b""
    key: bytes = attrs.field(default=b"", repr=False)
    cluster: str = ""
    proxy_url: str = attrs.field(default="", repr=False)
    rest: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class TalosConfig:
    """The contexts by name, and the one in use."""

    context: str = ""
    contexts: Mapping[str, Context] = attrs.field(factory=dict)

    def chosen(self, name: str = "") -> Context:
        """The context of this name, without one the context in use. Raises TalosConfigError."""
        name = name or self.context
        if not name:
            raise TalosConfigError(
                "no context is in use: name one with --context, or choose with `nodespan config use`"
            )
        if name not in self.contexts:
            known = ", ".join(sorted(self.contexts)) or "none"
            raise TalosConfigError(f"there is no context {name!r}; known here: {known}")
        return self.contexts[name]

    def using(self, name: str) -> "TalosConfig":
        """The same with this context in use. Raises TalosConfigError for an unknown one."""
        self.chosen(name)
        return attrs.evolve(self, context=name)

    def changed(self, name: str, **changes: Any) -> "TalosConfig":
        """The same with other fields in a context, without a name in the one in use. Raises TalosConfigError."""
        context = attrs.evolve(self.chosen(name), **changes)
        return attrs.evolve(self, contexts={**self.contexts, name or self.context: context})

    def merged(self, other: "TalosConfig") -> tuple["TalosConfig", dict[str, str]]:
        """Both together; incoming contexts whose name is taken become `<name>-1`, `-2`, ... Returns the new names too.

        The context in use becomes the incoming one in use, if it names one.
        """
        contexts, names = dict(self.contexts), dict[str, str]()
        for name, context in other.contexts.items():
            new, number = name, 0
            while new in contexts:
                number += 1
                new = f"{name}-{number}"
            contexts[new] = context
            names[name] = new
        return TalosConfig(context=names.get(other.context, self.context), contexts=contexts), names


def config_path(given: str = "", environment: Mapping[str, str] = os.environ, home: Path | None = None) -> Path:
    """The file in use: the one given, that of the environment, or the first of the usual ones that exists.

    Where none exists it is the place at which one would be made.
    """
    if given or environment.get(_VARIABLE):
        return Path(given or environment[_VARIABLE])
    base = environment.get(_HOME_VARIABLE, "")
    usual = Path(base) / "config" if base.startswith("/") else (home or Path.home()) / ".talos" / "config"
    return next((path for path in (usual, _SERVICE_ACCOUNT) if path.exists()), usual)


def read_config(path: Path) -> TalosConfig:
    """The configuration in a file; a missing file is an empty one. Raises TalosConfigError."""
    try:
        raw = read_named(path, _LARGEST, streams=True)
    except FileNotFoundError:
        return TalosConfig()
    except OSError as error:
        raise TalosConfigError(f"{path}: {error.strerror or error}") from error
    try:
        return parse_config(raw.decode())
    except UnicodeDecodeError as error:
        raise TalosConfigError(f"{path}: not text in UTF-8") from error
    except TalosConfigError as error:
        raise TalosConfigError(f"{path}: {error}") from error


def write_config(path: Path, config: TalosConfig) -> None:
    """Write the file, of mode 0600, and its directory, of mode 0700, if that is missing. Raises TalosConfigError."""
    try:
        make_directory(path.parent, mode=0o700)
        replace_file(path, config_text(config), mode=0o600)
    except OSError as error:
        raise TalosConfigError(f"{path}: {error.strerror or error}") from error


def parse_config(text: str) -> TalosConfig:
    """The configuration in a text. Raises TalosConfigError."""
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        raise TalosConfigError("not valid YAML") from error
    if data is None:
        return TalosConfig()
    contexts = data.get("contexts") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(contexts or {}, dict):
        raise TalosConfigError("this is no configuration of a client: it has `context` and `contexts`")
    return TalosConfig(
        context=_text(data, "context", "context"),
        contexts={str(name): _context(str(name), given) for name, given in (contexts or {}).items()},
    )


def config_text(config: TalosConfig) -> str:
    """The text of a configuration."""
    return dump(
        {"context": config.context, "contexts": {name: _plain(context) for name, context in config.contexts.items()}}
    )


def _context(name: str, given: object) -> Context:
    if given is None:
        return Context()
    if not isinstance(given, dict):
        raise TalosConfigError(f"the context {name} must have keys of its own")
    endpoints = _texts(given, name, "endpoints")
    if not endpoints and given.get("target"):
        endpoints = (_text(given, "target", name),)
    pems = []
    for key in ("ca", "crt", "key"):
        try:
            pems.append(base64.b64decode(_text(given, key, name), validate=True))
        except ValueError as error:
            raise TalosConfigError(f"{key} of the context {name} is not base64") from error
    authority, certificate, key_pem = pems
    if bool(certificate) != bool(key_pem):
        raise TalosConfigError(f"the context {name} has only one of crt and key, which go together")
    return Context(
        endpoints=endpoints,
        nodes=_texts(given, name, "nodes"),
        authority=authority,
        certificate=certificate,
        key=key_pem,
        cluster=_text(given, "cluster", name),
        proxy_url=_text(given, "proxy-url", name),
        rest={str(key): value for key, value in given.items() if key not in _KNOWN},
    )


def _plain(context: Context) -> dict[str, Any]:
    plain: dict[str, Any] = {"endpoints": list(context.endpoints)}
    if context.nodes:
        plain["nodes"] = list(context.nodes)
    for key, pem in (("ca", context.authority), ("crt", context.certificate), ("key", context.key)):
        if pem:
            plain[key] = base64.b64encode(pem).decode()
    if context.cluster:
        plain["cluster"] = context.cluster
    if context.proxy_url:
        plain["proxy-url"] = context.proxy_url
    return plain | dict(context.rest)


def _text(given: Mapping[Any, Any], key: str, where: str) -> str:
    value = given.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TalosConfigError(f"{key} of {where} must be a text")
    return value


def _texts(given: Mapping[Any, Any], where: str, key: str) -> tuple[str, ...]:
    values: object = given.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TalosConfigError(f"{key} of {where} must be a list of texts")
    return tuple(values)
