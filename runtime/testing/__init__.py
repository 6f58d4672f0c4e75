"""Tests of controllers and states of your own. Needs pytest.

Controllers are tested with `running`, which gives a `Node`. A kind of state is tested by
`nodespan.runtime.testing.state_suite`, an engine on it by `nodespan.runtime.testing.engine_suite`.
"""

import pytest

from nodespan.runtime.testing.kit import ControllerCrashedError, Crash, Node, running

# Without this a failed assertion of a suite would not show what was compared.
pytest.register_assert_rewrite("nodespan.runtime.testing.state_suite", "nodespan.runtime.testing.state_model")

__all__ = ["ControllerCrashedError", "Crash", "Node", "running"]
