"""What the tests of gRPC share."""

import pytest

from tests.runtime.api.grpc.greeter import Secured


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Secured:
    """A certificate for all that need one."""
    return Secured.made(tmp_path_factory.mktemp("secured"))
