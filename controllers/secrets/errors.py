"""What goes wrong with certificates and those who issue them; loads nothing."""


class CertificateError(ValueError):
    """A certificate, key or request cannot be used. The text says why, without their content."""


class IssuerError(Exception):
    """No certificate can be had at present; the text says why."""


class NoProcessError(IssuerError):
    """The process that issues certificates could not do it, whatever it was asked."""


class AccidentError(NoProcessError):
    """The process that issues certificates had an accident: the next one may do better."""
