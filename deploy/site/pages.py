"""All pages of the site as Markdown: those of `docs/`, the generated ones, and files of the tree that pages link to."""

import re
from pathlib import Path

from deploy.site import commands, configuration, messages, python_api, resources
from deploy.site.markdown import block

ROOT = Path(__file__).parents[2]
_DOCS = ROOT / "docs"
# Files of the top folder that are pages too.
_OF_THE_TOP = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "reporting.md"}
_HOME = "index.md"
# What the first page names, and has a link to only where there is a site.
_NAMED = "the reference of the site (`make docs-site`): resources, configuration, commands, events, problems, Python"
_LINKED = (
    "the reference: [resources](reference/resources/index.md), [configuration](reference/configuration/index.md), "
    "[commands](reference/cli/index.md), [events](reference/events.md), [problems](reference/problems.md), "
    "[Python](reference/python/index.md)"
)
_LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)((?:#[^)\s]*)?\))")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".yml": "yaml"}


def generated() -> dict[str, str]:
    """The pages of reference, by their path on the site."""
    written = {path.relative_to(_DOCS): path.read_text() for path in sorted(_DOCS.rglob("*.md"))}
    made = resources.pages() | configuration.pages(written) | messages.pages() | commands.pages() | python_api.pages()
    return {f"reference/{path}": text for path, text in made.items()}


def collected() -> dict[str, str]:
    """All pages, by their path on the site."""
    pages = generated()
    for path in sorted(_DOCS.rglob("*.md")):
        page = str(path.relative_to(_DOCS))
        pages[page] = _relinked(path.read_text(), path, page, pages)
    for name, page in _OF_THE_TOP.items():
        if (ROOT / name).exists():
            pages[page] = _relinked((ROOT / name).read_text(), ROOT / name, page, pages)
    return {page: text.replace(_NAMED, _LINKED) for page, text in pages.items()}


def _relinked(text: str, path: Path, page: str, pages: dict[str, str]) -> str:
    """The text with links to files of the tree leading to where these are on the site."""

    def lead(match: re.Match[str]) -> str:
        target = (path.parent / match[2]).resolve()
        return f"{match[1]}{_from(page, _place(target, page, pages))}{match[3]}"

    parts = []
    last = 0
    for fenced in _FENCED.finditer(text):
        parts += [_LINK.sub(lead, text[last : fenced.start()]), fenced[0]]
        last = fenced.end()
    return "".join([*parts, _LINK.sub(lead, text[last:])])


def _place(target: Path, page: str, pages: dict[str, str]) -> str:
    """Where a file or folder of the tree is on the site; what is not there yet is put there."""
    if target.is_relative_to(_DOCS):
        place = target.relative_to(_DOCS)
        return str(place / "README.md" if target.is_dir() else place)
    inside = str(target.relative_to(ROOT))
    if inside in _OF_THE_TOP:
        return _OF_THE_TOP[inside]
    if inside == "README.md":
        return _HOME
    if target.is_dir():
        files = sorted(each for each in target.iterdir() if each.is_file() and each.suffix in _LANGUAGES)
        rows = [f"- [{each.name}]({each.name}.md)" for each in files]
        pages[f"source/{inside}/index.md"] = "\n".join([f"# {inside}\n", *rows, ""])
        for each in files:
            _place(each, page, pages)
        return f"source/{inside}/index.md"
    language = _LANGUAGES.get(target.suffix, "text")
    pages[f"source/{inside}.md"] = f"# {inside}\n\n{block(target.read_text(), language)}"
    return f"source/{inside}.md"


def _from(page: str, target: str) -> str:
    """The path of one page seen from another."""
    up = page.count("/")
    shared = 0
    here, there = page.split("/")[:-1], target.split("/")[:-1]
    while shared < min(len(here), len(there)) and here[shared] == there[shared]:
        shared += 1
    return "../" * (up - shared) + "/".join(target.split("/")[shared:])
