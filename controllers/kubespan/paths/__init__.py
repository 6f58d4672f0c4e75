"""What the paths to the peers are like: round trip, loss, the size that they carry, and how each was found."""
