"""The messages of the originals' typed specs. The `_pb2` modules are generated from the `.proto` files beside them."""
