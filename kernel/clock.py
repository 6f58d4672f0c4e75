"""How the kernel keeps its clock: what adjtimex reports. Reading it changes nothing, and needs no privilege."""

import ctypes
import os
from typing import Final

import attrs

_STATES: Final = ("TIME_OK", "TIME_INS", "TIME_DEL", "TIME_OOP", "TIME_WAIT", "TIME_ERROR")
_FLAGS: Final = (
    *("STA_PLL", "STA_PPSFREQ", "STA_PPSTIME", "STA_FLL", "STA_INS", "STA_DEL", "STA_UNSYNC", "STA_FREQHOLD"),
    *("STA_PPSSIGNAL", "STA_PPSJITTER", "STA_PPSWANDER", "STA_PPSERROR", "STA_CLOCKERR", "STA_NANO", "STA_MODE"),
    "STA_CLK",
)
_UNSYNC: Final = 0x40
_NANO: Final = 0x2000
_ERROR: Final = 5


@attrs.frozen(kw_only=True)
class KernelClock:
    """`offset_ns` is still to be corrected; errors are in microseconds; `frequency` is in 2**-16 parts per million."""

    state: int
    status: int
    offset_ns: int = 0
    frequency: int = 0
    max_error_us: int = 0
    est_error_us: int = 0
    constant: int = 0

    @property
    def is_synchronized(self) -> bool:
        """Whether a time service vouches for it."""
        return self.state != _ERROR and not self.status & _UNSYNC

    @property
    def state_text(self) -> str:
        """`TIME_OK`."""
        return _STATES[self.state] if 0 <= self.state < len(_STATES) else str(self.state)

    @property
    def status_text(self) -> str:
        """`STA_PLL | STA_NANO`."""
        return " | ".join(name for bit, name in enumerate(_FLAGS) if self.status & 1 << bit)


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("pps", ctypes.c_long * 8),
        ("tai", ctypes.c_int),
        # Room for what later kernels add.
        ("padding", ctypes.c_int * 32),
    )


def read_clock() -> KernelClock:
    """The state now. Raises OSError where a sandbox forbids the call."""
    library = ctypes.CDLL(None, use_errno=True)
    found = _Timex()
    state = int(library.adjtimex(ctypes.byref(found)))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return KernelClock(
        state=state,
        status=found.status,
        offset_ns=found.offset if found.status & _NANO else found.offset * 1000,
        frequency=found.freq,
        max_error_us=found.maxerror,
        est_error_us=found.esterror,
        constant=found.constant,
    )
