"""What the kernel's names of the node mean."""

import pytest

from nodespan.controllers.network.status.hostname_status import split_name
from nodespan.resources.network import HostnameStatusSpec


@pytest.mark.parametrize(
    ("hostname", "domainname", "shown"),
    [
        ("node1", "(none)", ("node1", "")),
        ("node1", "", ("node1", "")),
        ("node1", "example.org", ("node1", "example.org")),
        ("node1.example.org", "(none)", ("node1", "example.org")),
        ("node1.example.org", "other.example", ("node1.example.org", "other.example")),
    ],
)
def test_a_name_that_holds_the_domain_is_split_at_the_first_dot(
    hostname: str, domainname: str, shown: tuple[str, str]
) -> None:
    assert split_name(hostname, domainname) == HostnameStatusSpec(hostname=shown[0], domainname=shown[1])
