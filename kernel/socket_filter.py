"""Classic BPF: what a socket shall not receive, the kernel drops before the process is woken for it.

A program is read from its first instruction on. It loads numbers of the packet, in network byte order, into its one
register, jumps forward by what it finds, and returns how many bytes to take: 0 drops the packet. A load behind the end
of the packet drops it too.
"""

import ctypes
import socket
import struct
from collections.abc import Sequence

# An instruction: code, how many to skip if a jump's condition holds and if not, operand.
Instruction = tuple[int, int, int, int]

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
JUMP_IF_EQUAL, JUMP_IF_ANY_BIT = 0x15, 0x45
TAKE: Instruction = (0x06, 0, 0, 0xFFFFFFFF)
DROP: Instruction = (0x06, 0, 0, 0)

# From Linux's headers; Python does not name it.
_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")


def attach(to: socket.socket, program: Sequence[Instruction]) -> None:
    """Have a socket receive only what passes. What is queued already stays. Raises OSError."""
    code = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    to.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
