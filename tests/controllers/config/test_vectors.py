"""Known answers to which KubeSpan and discovery settings are valid."""

from typing import Any

from nodespan.controllers.config.loading import load
from nodespan.runtime.codec.yamltext import dump
from tests.support.vectors import each

SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
# What a mesh needs besides, so that nothing but the document in question can be wrong.
IDENTITY = {"kind": "DiscoveryIdentityConfig", "clusterID": "cluster", "clusterSecret": SECRET}
SERVICE = {"kind": "DiscoveryServiceConfig", "name": "default", "endpoint": "https://discovery.example.org/"}


def stream(document: dict[str, Any]) -> str:
    """The document of a case among the others of its mesh."""
    documents: list[dict[str, Any]]
    settings = {key: value for key, value in document.items() if key != "kind"}
    match document["kind"]:
        case "v1alpha1":
            documents = [{"machine": {"type": "worker", "network": {"kubespan": settings}}}, IDENTITY, SERVICE]
        case "v1alpha1-discovery":
            discovery = {"enabled": True, "registries": {"service": settings}}
            documents = [{"cluster": {"id": "cluster", "secret": SECRET, "discovery": discovery}}]
        case kind:
            documents = [document, *(other for other in (IDENTITY, SERVICE) if other["kind"] != kind)]
    return "---\n".join(dump({"apiVersion": "v1alpha1"} | part if "kind" in part else part) for part in documents)


@each("config_validation")
def test_settings_are_valid_or_not(vector: dict[str, Any]) -> None:
    errors = load(stream(vector["document"])).errors
    assert (not errors) is vector["valid"], errors
