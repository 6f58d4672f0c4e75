"""Why a connection failed, in words for operators."""

import os
import ssl


def connection_fault(error: BaseException) -> str:
    """The reason at the bottom of an error: of several attempts that of the last, of a certificate what is wrong."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[-1]
        elif isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is refused: {cause.verify_message}"
        elif isinstance(cause, OSError) and cause.strerror:
            # trio puts the address in front, which the caller knows. Errors of TLS and of names have other numbers.
            is_of_system = not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0
            return os.strerror(cause.errno or 0) if is_of_system else cause.strerror
        else:
            cause = cause.__cause__
    return str(error)
