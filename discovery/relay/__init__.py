"""The relay: gives nodes an address on another machine, over a stream that goes where UDP does not."""
