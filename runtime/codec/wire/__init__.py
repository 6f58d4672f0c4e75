"""The messages of the COSI State service. The `_pb2` modules are generated from the `.proto` files: `make protobuf`."""
