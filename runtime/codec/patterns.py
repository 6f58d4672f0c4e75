"""Whether a regular expression from a client is safe to run: its time must not explode with the length of an id.

The originals run RE2, whose time is linear. Python's engine backtracks: nested repetition takes exponential time, and
each repetition beside another multiplies. So what RE2 lacks (back references, looking around) is refused, as it does,
and so are repetitions within repetitions, and more than a few in one pattern.
"""

import re
from re import _constants as codes  # type: ignore[attr-defined]  # the parser behind re, which has no stubs
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_MOST_REPETITIONS = 3
# A repetition with a bound this low counts for nothing.
_HARMLESS = 8
_LONGEST = 1000
_REPEAT = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
_REFUSED = (codes.ASSERT, codes.ASSERT_NOT, codes.GROUPREF, codes.GROUPREF_EXISTS, codes.ATOMIC_GROUP)


def check_pattern(text: str) -> None:
    """Raise ValueError for a pattern that cannot be read, or is not safe to run."""
    if len(text) > _LONGEST:
        raise ValueError(f"a pattern may have {_LONGEST} characters, this one has {len(text)}")
    try:
        tree = parser.parse(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"pattern {text!r} is not a regular expression: {error}") from error
    if _repetitions(tree, text, is_repeated=False) > _MOST_REPETITIONS:
        raise ValueError(f"pattern {text!r} has more than {_MOST_REPETITIONS} repetitions: it could take too long")


def _repetitions(tree: Any, text: str, *, is_repeated: bool) -> int:
    count = 0
    for code, argument in tree:
        if code in _REFUSED:
            raise ValueError(f"pattern {text!r} looks around or back, which is not supported")
        if code in _REPEAT:
            _, most, inner = argument
            counts = most > _HARMLESS
            if is_repeated:
                raise ValueError(f"pattern {text!r} has a repetition within a repetition: it could take too long")
            count += counts + _repetitions(inner, text, is_repeated=counts or most > 1)
        elif code is codes.SUBPATTERN:
            count += _repetitions(argument[-1], text, is_repeated=is_repeated)
        elif code is codes.BRANCH:
            count += sum(_repetitions(branch, text, is_repeated=is_repeated) for branch in argument[1])
    return count
