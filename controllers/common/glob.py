"""The patterns by which links are selected: only `*` is special, it matches any number of characters, also none."""


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text matches the pattern, case-sensitively. Without a star that is equality."""
    first, *others = pattern.split("*")
    if not others:
        return pattern == text
    *middle, last = others
    end = len(text) - len(last)
    if end < len(first) or not (text.startswith(first) and text.endswith(last)):
        return False
    position = len(first)
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True
