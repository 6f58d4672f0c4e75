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
