"""How two sets of resources differ, in lines for people: + added, - removed, ~ changed.

Values of secrets are not shown, only that they change.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nodespan.controllers.common.quoting import mask_url
from nodespan.controllers.common.rule_text import rule_text
from nodespan.controllers.config.masking import is_secret_name
from nodespan.resources.network import EthernetSpecSpec, EthernetStatusSpec, NfTablesChainSpec
from nodespan.runtime.codec.plain import spec_to_plain

# By display type and id; the specs.
Specs = Mapping[tuple[str, str], Any]

_HIDDEN = "(secret)"
_LONGEST = 60
# Of a list, as the rules of a firewall, so many items are shown.
_MOST_ITEMS = 20


def difference_lines(before: Specs, after: Specs) -> Iterator[str]:
    """One line for each resource that differs, in the order of types and ids."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        named = " ".join(key)
        if new is None:
            yield f"- {named}"
        elif old is None:
            fields = [f"{path} {_shown(path, value)}" for path, value in flat(new).items() if not _is_unset(value)]
            yield f"+ {named}: {', '.join(fields)}".removesuffix(": ")
        else:
            yield f"~ {named}: {', '.join(change_texts(flat(old), flat(new)))}"


def change_texts(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """`mtu 1500 -> 9000` for each field that differs, `addresses -10.0.0.5/24 +10.0.0.6/24` for a list."""
    for path in sorted(old.keys() | new.keys()):
        was, becomes = old.get(path), new.get(path)
        if was == becomes or (None in (was, becomes) and _is_unset(was) and _is_unset(becomes)):
            continue
        if isinstance(was, list) and isinstance(becomes, list):
            gone = [f"-{_shown(path, item)}" for item in was if item not in becomes]
            come = [f"+{_shown(path, item)}" for item in becomes if item not in was]
            yield " ".join([path, *_some(gone), *_some(come)]) if gone or come else f"{path} in another order"
        else:
            yield f"{path} {_shown(path, was)} -> {_shown(path, becomes)}"


def flat(spec: object) -> dict[str, Any]:
    """The fields of a spec by their paths: `bondMaster.miimon`, `peers[0].endpoint`."""
    plain = spec_to_plain(spec)
    if isinstance(spec, NfTablesChainSpec):
        # A rule that comes between others is one difference, not one of each field of all behind it.
        plain = {**plain, "rules": [f"({rule_text(rule)})" for rule in spec.rules]}
    elif isinstance(spec, EthernetSpecSpec | EthernetStatusSpec):
        plain = _all_set(plain)
    return dict(_flatten(plain, ""))


def _some(items: Sequence[str]) -> Sequence[str]:
    more = len(items) - _MOST_ITEMS
    return [*items[:_MOST_ITEMS], f"and {more:,} more"] if more > 0 else items


def _all_set(value: Any) -> Any:
    """The same with words and digits for what would look unset: here, off and 0 are as much asked for as on and 5."""
    if isinstance(value, Mapping):
        return {key: _all_set(part) for key, part in value.items()}
    if isinstance(value, bool) or value == []:
        return "on" if value else "off"
    return str(value) if isinstance(value, int) else value


def _flatten(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flatten(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and any(isinstance(item, Mapping) for item in value):
        for index, part in enumerate(value):
            yield from _flatten(part, f"{path}[{index}]")
    else:
        yield path or "text", value


def _is_unset(value: Any) -> bool:
    """Whether a field has the value of an unset field."""
    return value is None or value is False or value in ("", 0) or (isinstance(value, Sequence) and not value)


def _shown(path: str, value: Any) -> str:
    if value is None or value in ("", []):
        return "(none)"
    if is_secret_name(path.rpartition(".")[2].partition("[")[0]):
        return _HIDDEN
    if isinstance(value, list):
        return f"[{', '.join(_some([_shown(path, item) for item in value]))}]"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    name, equals, _ = text.partition("=")
    if equals and is_secret_name(name):
        return f"{name}={_HIDDEN}"
    text = " ".join(mask_url(text).split())
    longest = _LONGEST if not path.endswith("rules") else 2 * _LONGEST
    return text if len(text) <= longest else text[: longest - 1] + "…"
