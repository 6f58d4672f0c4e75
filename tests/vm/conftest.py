"""The vm tier: these tests run inside the guests that tests.vm.run boots, and nowhere else."""

import os

import pytest

from tests.support.deadlines import IN_GUEST

# Set by tests.vm.run on a machine that cannot boot a guest: the reason.
REFUSED = "NODESPAN_VM_REFUSED"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if IN_GUEST not in os.environ:
        pytest.skip(os.environ.get(REFUSED, "runs in a virtual machine: make test-vm"))
