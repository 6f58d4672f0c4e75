"""Specs as nodes send them become plain data."""

from nodespan.controllers.remote.nodes import _plain


def test_times_stay_text_as_they_do_on_this_machine() -> None:
    assert _plain("lastHandshakeTime: 2022-04-12T16:17:29Z\nday: 2022-04-12\nmtu: 1500\nup: true\n") == {
        "lastHandshakeTime": "2022-04-12T16:17:29Z",
        "day": "2022-04-12",
        "mtu": 1500,
        "up": True,
    }
    assert _plain("") == {}
