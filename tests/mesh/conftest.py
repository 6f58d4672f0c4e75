"""The mesh tier: real namespaces, so only where they can be made."""

import pytest

from tests.support import probe


def pytest_runtest_setup(item: pytest.Item) -> None:
    if reason := probe.no_namespaces():
        pytest.skip(reason)
