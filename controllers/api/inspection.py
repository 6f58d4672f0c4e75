"""`inspect.InspectService`: the dependency graph of the controllers."""

from typing import Final

from google.protobuf.empty_pb2 import Empty

from nodespan.controllers.api.roles import require
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.api.cosi.roles import READERS
from nodespan.runtime.api.grpc import Call, Method, unary
from nodespan.runtime.graph import EdgeKind
from nodespan.runtime.plugins import AgentAccess

DEPENDENCIES: Final = "/inspect.InspectService/ControllerRuntimeDependencies"
# The numbers of the wire. The inputs of queue controllers have none of their own there.
_NUMBERS: Final = {
    EdgeKind.OUTPUT_EXCLUSIVE: 0,
    EdgeKind.INPUT_STRONG: 1,
    EdgeKind.INPUT_WEAK: 2,
    EdgeKind.OUTPUT_SHARED: 3,
    EdgeKind.INPUT_DESTROY_READY: 4,
    EdgeKind.INPUT_PRIMARY: 1,
    EdgeKind.INPUT_MAPPED: 2,
    EdgeKind.INPUT_MAPPED_DESTROY_READY: 4,
}


def inspection_methods(agent: AgentAccess) -> tuple[Method, ...]:
    """The methods of the service."""

    async def dependencies(_request: Empty, call: Call) -> wire.ControllerRuntimeDependenciesResponse:
        require(call, READERS)
        edges = [
            wire.ControllerDependencyEdge(
                controller_name=edge.controller,
                edge_type=_NUMBERS[edge.kind],
                resource_namespace=edge.namespace,
                resource_type=edge.type,
                resource_id=edge.id,
            )
            for edge in agent.edges()
        ]
        return wire.ControllerRuntimeDependenciesResponse(messages=[wire.ControllerRuntimeDependency(edges=edges)])

    return (unary(DEPENDENCIES, Empty, dependencies),)
