"""Frames as bytes, and how many steps it takes to receive some."""

import gc
import sys
from collections.abc import Callable
from typing import Any


def steps(receive: Callable[[bytes], object], data: bytes) -> int:
    """The lines of Python that run to receive the data: loops count by their length."""
    count = 0

    def trace(_frame: Any, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    # A collection would run what is called when objects of other tests go.
    gc.disable()
    sys.settrace(trace)
    try:
        receive(data)
    finally:
        sys.settrace(None)
        gc.enable()
    return count


def setting(code: int, value: int) -> bytes:
    """A frame with one setting."""
    return bytes.fromhex("000006040000000000") + code.to_bytes(2, "big") + value.to_bytes(4, "big")


FRAMES = {
    "initial window": setting(4, 1) + setting(4, 70_000),
    "largest frame": setting(5, 20_000) + setting(5, 16_384),
    "size of the header table": setting(1, 0) + setting(1, 4096),
    "window of the connection": bytes.fromhex("00000408000000000000000001"),
    "window of a stream": bytes.fromhex("00000408000000000100000001"),
    "reset": bytes.fromhex("00000403000000000100000008"),
    "ping": bytes.fromhex("000008060000000000") + bytes(8),
    "priority": bytes.fromhex("000005020000000001") + bytes(5),
}
