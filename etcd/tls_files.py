"""The certificates by which members of etcd and this client know each other."""

import ssl
from pathlib import Path

import attrs

from nodespan.etcd.errors import TLSFilesError
from nodespan.runtime.pem import PEMError, check_certificate_file
from nodespan.runtime.trusting import trusting


@attrs.frozen(kw_only=True)
class TLSFiles:
    """PEM files. Without `ca` the system's authorities are trusted; `certificate`, `key` authenticate this client."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> "ssl.SSLContext":
        """What TLS needs of them. Reads the files; raises TLSFilesError."""
        try:
            if self.ca is not None:
                check_certificate_file(self.ca)
            context = trusting(self.ca)
        except (OSError, PEMError) as error:
            raise TLSFilesError(f"{self.ca} cannot be used as etcd's certificate authority: {_words(error)}") from None
        if self.certificate is None:
            return context
        try:
            check_certificate_file(self.certificate)
            if self.key is not None:
                check_certificate_file(self.key)
            # Without a password OpenSSL would prompt for it at the terminal.
            context.load_cert_chain(self.certificate, self.key, password="")
        except (OSError, PEMError) as error:
            both = f"{self.certificate} with the key {self.key or 'in it'}"
            raise TLSFilesError(f"{both} cannot be used as etcd's client certificate: {_words(error)}") from None
        return context


def _words(error: OSError | PEMError) -> str:
    if isinstance(error, PEMError):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return (error.strerror or str(error)).lower()
