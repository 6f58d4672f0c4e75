"""Escapes text from outside for display."""


def escaped(text: str, *, keep: str = "") -> str:
    """The text with every character that a terminal would act on, or cannot show, written as `\\x1b`.

    Names of links, nodes, keys and files are untrusted. Characters in `keep` are not escaped.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )


def bounded(text: str, longest: int = 300) -> str:
    """A text of another machine as it is kept, logged and shown: escaped, and cut at a length with `...`.

    For what others say of themselves this is done where it comes in, so that no reader has to think of it.
    """
    if len(text) <= longest and text.isprintable():
        return text
    shown = escaped(text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def in_markup(text: str, *, quotes: bool = True) -> str:
    """The text within an element of HTML or XML; with `quotes`, within a quoted attribute, too.

    As `html.escape`, whose module brings a table of all entities, a third of a megabyte, to read them.
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;").replace("'", "&#x27;") if quotes else text
