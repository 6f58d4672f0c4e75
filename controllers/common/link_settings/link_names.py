"""Which names a link can be made with: the kernel's `dev_valid_name`, and what it does with a `%`."""

from nodespan.runtime.text.escaping import escaped

LONGEST_NAME = 15
# The kernel's isspace() reads bytes as Latin-1, so the last byte of a letter like "à" in UTF-8 is a blank to it.
_BLANKS = frozenset(b"\t\n\v\f\r \xa0")


def link_name_fault(name: str) -> str:
    """What is wrong with the name for a link that is to be made, as the end of a sentence; "" if it will do.

    A `%d` is refused although the kernel takes it: it would put a number in its place, a new one each time.
    """
    raw = name.encode("utf-8", "surrogateescape")
    if not raw:
        return "is empty"
    if len(raw) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    if name in (".", ".."):
        return "is not allowed"
    for character in name:
        if character in "/:%":
            return f"contains {character}"
        if character.isspace():
            return "contains a blank"
        if not character.isprintable() or not _BLANKS.isdisjoint(character.encode("utf-8", "surrogateescape")):
            return f"contains {escaped(repr(character))}"
    return ""


NAME_HINT = f"the name of a link has 1 to {LONGEST_NAME} bytes, no blanks, and none of / : %"
