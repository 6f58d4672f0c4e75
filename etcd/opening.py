"""The scheme `etcd:` of states: `etcd:https://10.0.0.1:2379,https://10.0.0.2:2379`."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from nodespan.etcd.client import EtcdClient
from nodespan.etcd.errors import EndpointError, TLSFilesError
from nodespan.etcd.login import Credentials
from nodespan.etcd.state import PATIENCE, PREFIX, open_etcd
from nodespan.etcd.tls_files import TLSFiles
from nodespan.runtime.errors import StateOpenError
from nodespan.runtime.state.base import State
from nodespan.runtime.state.collection import History
from nodespan.runtime.state.opening import StateOptions

# The settings of such a state, by their names in a configuration.
SETTINGS = ("ca", "cert", "key", "username", "passwordFile", "prefix", "patience", "sealKey")
# Other kinds of state have it, with a default.
_NOT_OURS = ("synchronous",)
_OPEN_WITHIN = 10.0


@asynccontextmanager
async def open_state(url: str, options: StateOptions) -> AsyncGenerator[State, None]:
    """The state at these endpoints. Raises StateOpenError.

    Settings: `ca`, `cert` and `key` are PEM files for TLS; `username` and `passwordFile` are of a user of etcd;
    `prefix` is the beginning of all keys, `sealKey` the file of the key that seals sensitive types, `patience` how many
    seconds a write waits through an outage.
    """
    settings = _settings(options.settings)
    ca, certificate, key, password_file, seal_key = (
        _path(options.state_dir, settings.get(name)) for name in ("ca", "cert", "key", "passwordFile", "sealKey")
    )
    username = settings.get("username")
    try:
        patience = float(settings.get("patience") or PATIENCE)
    except ValueError:
        raise StateOpenError(f"patience: {settings['patience']!r} is not a number of seconds") from None
    try:
        async with (
            EtcdClient(
                [part.strip() for part in url.partition(":")[2].split(",") if part.strip()],
                tls=TLSFiles(ca=ca, certificate=certificate, key=key),
                credentials=Credentials(username, password_file=password_file) if username else None,
            ) as client,
            open_etcd(
                client,
                types=options.types,
                prefix=settings.get("prefix") or PREFIX,
                patience=patience,
                key=seal_key,
                history=History.of(max_capacity=options.max_history),
                log=options.log,
            ) as state,
        ):
            if not options.wait:
                with trio.move_on_after(_OPEN_WITHIN) as scope:
                    await state.until_available("")
                outage = state.outage("")
                if scope.cancelled_caught and outage is not None:
                    raise StateOpenError(f"{url}: {outage.reason}")
            yield state
    except (EndpointError, TLSFilesError) as error:
        raise StateOpenError(str(error)) from error


def _settings(given: Mapping[str, str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for name, value in given.items():
        first, *rest = name.split("_")
        called = first + "".join(part.capitalize() for part in rest)
        if called in SETTINGS:
            settings[called] = value
        elif called not in _NOT_OURS:
            raise StateOpenError(f"{name!r} is no setting of a state on etcd: they are {', '.join(SETTINGS)}")
    return settings


def _path(base: Path, name: str | None) -> Path | None:
    return base / name if name else None
