"""Names that a link can be made with."""

import pytest

from nodespan.controllers.common.link_settings.link_names import link_name_fault


@pytest.mark.parametrize("name", ["a", "eth0", "br-lan.100", "a" * 15, "über", "日本語", "-", "..."])
def test_the_kernel_takes_these(name: str) -> None:
    assert link_name_fault(name) == ""


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is empty"),
        ("a" * 16, "is longer than 15 bytes"),
        ("日本語日本語", "is longer than 15 bytes"),
        (".", "is not allowed"),
        ("..", "is not allowed"),
        ("a/b", "contains /"),
        ("a:1", "contains :"),
        ("br%d", "contains %"),
        ("a b", "contains a blank"),
        ("a\u00a0b", "contains a blank"),
        ("à", "contains 'à'"),  # C3 A0: the kernel reads A0 as a blank
        ("a\x1b", "contains '\\x1b'"),
    ],
)
def test_the_others_are_refused_with_the_reason(name: str, fault: str) -> None:
    assert link_name_fault(name) == fault
