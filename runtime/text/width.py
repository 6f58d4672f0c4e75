"""How wide texts are on a terminal.

The command line's short way imports this module, so it imports next to nothing.
"""

_CUT = "…"


def width_of(text: str) -> int:
    """How many columns a terminal needs for this text, in which nothing is left to escape."""
    if text.isascii():
        return len(text)
    # Loaded only where there is something to measure: it takes as long as everything else of a command.
    from wcwidth import wcswidth

    columns: int = wcswidth(text)
    return columns if columns >= 0 else len(text)


def padded(text: str, columns: int) -> str:
    """The text with blanks up to this many columns."""
    return text + " " * (columns - width_of(text))


def fitted(text: str, columns: int | None) -> str:
    """The text cut, with a mark, to this many columns; None for no limit."""
    if columns is None or len(text) <= columns // 2 or width_of(text) <= columns:
        return text
    kept, used = [], 0
    for char in text:
        used += width_of(char)
        if used > columns - 1:
            break
        kept.append(char)
    return f"{''.join(kept)}{_CUT}"
