"""Affiliates to test with: any at all, and small ones by name."""

from hypothesis import strategies as st

from nodespan.discovery.affiliate import AffiliateData, ControlPlanePart, KubeSpanPart
from nodespan.resources.addresses import format_address

KEY = bytes(range(32))
OTHER_KEY = bytes(32)

_addresses = st.ip_addresses().map(format_address)
_prefixes = st.builds(lambda address, length: f"{address}/{length}", _addresses, st.integers(0, 128))
_texts = st.text(max_size=20)


def _tuples(items: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(items, max_size=4).map(tuple)


def affiliates() -> st.SearchStrategy[AffiliateData]:
    """Any affiliate that can be told."""
    kubespan = st.builds(
        KubeSpanPart,
        public_key=_texts,
        address=_addresses | st.just(""),
        additional_addresses=_tuples(_prefixes),
        exclude_advertised_addresses=_tuples(_prefixes),
    )
    control_plane = st.builds(ControlPlanePart, api_server_port=st.integers(0, 2**32 - 1))
    return st.builds(
        AffiliateData,
        node_id=_texts,
        addresses=_tuples(_addresses),
        hostname=_texts,
        nodename=_texts,
        machine_type=_texts,
        operating_system=_texts,
        kubespan=st.none() | kubespan,
        control_plane=st.none() | control_plane,
    )


def node(name: str, *addresses: str) -> AffiliateData:
    """A worker of this name, which is its id too."""
    return AffiliateData(node_id=name, hostname=name, nodename=name, machine_type="worker", addresses=addresses)
