"""What those test with who write a state or a controller of their own. Needs pytest."""

import pytest

# Without this a failed assertion of a suite would not show what was compared.
pytest.register_assert_rewrite("nodespan.runtime.testing.state_suite")
