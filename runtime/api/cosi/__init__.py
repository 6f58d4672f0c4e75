"""The COSI State service over gRPC: resources for clients in any language, on this machine and on others."""
