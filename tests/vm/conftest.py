"""The vm tier: these tests run inside the guest that tests.vm.run boots, and nowhere else."""

import os
from pathlib import Path

import pytest

# Set by tests/vm/guest.sh.
IN_GUEST = "NODESPAN_VM_GUEST"
# Set by tests.vm.run on a machine that cannot boot a guest: the reason.
REFUSED = "NODESPAN_VM_REFUSED"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: too long for every day; run by -m soak, and by make soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.markexpr:
        return
    long = [item for item in items if item.path.parent == Path(__file__).parent and item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if IN_GUEST not in os.environ:
        pytest.skip(os.environ.get(REFUSED, "runs in a virtual machine: make test-vm"))
