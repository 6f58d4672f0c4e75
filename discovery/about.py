"""What the namespace of the discovery service is for."""

from nodespan.runtime.about import About

ABOUT = About(
    namespaces={"discovery": "The records that the discovery service of this process keeps for its clients; sensitive."}
)
