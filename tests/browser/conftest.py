"""The browser tier: one headless Chromium for all its tests."""

from collections.abc import Iterator

import pytest

from tests.support.browser import Browser, program, running_browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if program() is None:
        pytest.skip("there is no Chromium here: apt-get install chromium-headless-shell, or make test-browser as root")
    with running_browser() as found:
        yield found
