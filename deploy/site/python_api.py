"""Reference pages of the public modules: which names each has; mkdocstrings renders what their docstrings say."""

import importlib
import inspect
from typing import Any

from deploy.site.markdown import first_sentence, table
from nodespan.runtime.resource import Kind, ResourceType
from tests.docs.public_face import MODULES


def pages() -> dict[str, str]:
    """The pages, by their path below `reference/`."""
    return {"python/index.md": _index(), **{f"python/{name}.md": _page(name) for name in MODULES}}


def _index() -> str:
    rows = [(f"[{name}]({name}.md)", purpose) for name, purpose in MODULES.items()]
    return "\n".join(
        [
            "# Python\n",
            (
                "What you may import. A change that breaks a program which uses these names is announced in the "
                "[changelog](../../changelog.md) and counts as one in the version; everything else may change at any "
                "time. How to use them: [controllers](../../controllers.md), and all names on one page: "
                "[api](../../api.md).\n"
            ),
            table(("module", "for"), rows),
        ]
    )


def _page(name: str) -> str:
    module = importlib.import_module(name)
    parts = [f"# {name}\n", f"{MODULES[name]}\n"]
    documented = [public for public in sorted(module.__all__) if _has_pages(getattr(module, public))]
    types = [public for public in sorted(module.__all__) if isinstance(getattr(module, public), ResourceType)]
    if types:
        rows = [
            (f"`{public}`", f"`{getattr(module, public).name}`", _what(getattr(module, public))) for public in types
        ]
        parts += ["## Types of resources\n", table(("name", "type", "what"), rows)]
    parts += [f"::: {name}.{public}\n    options:\n      heading_level: 2\n" for public in documented]
    constants = [public for public in sorted(module.__all__) if public not in documented and public not in types]
    if constants:
        rows = [(f"`{public}`", _constant(getattr(module, public)), "") for public in constants]
        parts += ["## Constants\n", table(("name", "value", ""), rows)]
    return "\n".join(parts)


def _has_pages(value: Any) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith("nodespan.")


def _what(type: ResourceType[Any]) -> str:
    return first_sentence(inspect.getdoc(type.spec_class) or "")


def _constant(value: Any) -> str:
    if isinstance(value, Kind):
        return f"`{value.type}` in `{value.namespace}`"
    return f"`{value!r}`" if isinstance(value, str | int | float) else ""
