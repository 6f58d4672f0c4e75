"""The discovery protocol: messages, ciphers, client and service."""
