"""Which patterns of clients are run."""

import pytest

from nodespan.runtime.codec.patterns import check_pattern


@pytest.mark.parametrize(
    "pattern",
    ["", "^eth[0-9]+$", "a.*b.*c", "(?:wg|lo)[0-9]{1,3}", "(?i)ETH", r"\d+\.\d+", "(ab)+", "(?P<x>a)|b*", "a{2,5}"],
)
def test_a_usual_pattern_is_run(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "not a regular expression"),
        ("(a+)+$", "within a repetition"),
        ("(a|a*)*b", "within a repetition"),
        ("(a{1,100}){1,100}", "within a repetition"),
        ("((ab){2}){2}", "within a repetition"),
        (".*.*.*.*x", "more than 3"),
        ("a{0,50}a{0,50}a{0,50}a{0,50}", "more than 3"),
        (r"(a)\1", "looks around or back"),
        ("(?=a)b", "looks around or back"),
        ("(?<!a)b", "looks around or back"),
        ("a" * 2000, "1000 characters"),
    ],
)
def test_one_that_could_take_too_long_is_not(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_pattern(pattern)
