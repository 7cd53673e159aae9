"""Encryption towards clients: which certificate is served, kept fresh while the gateway runs.

The listener has one context for its whole life. At each handshake it hands over to the context of
the newest certificate; connections that are open keep theirs.
"""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.app.addresses import names_for_certificate
from gateway.app.trust import AuthorityUnusable, ca_folder
from gateway.clock import Clock
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.app.authority import Authority

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
"""How often certificate files are looked at for changes."""

_RENEW_EVERY_S = 600.0
"""How often the authority is asked whether its certificate still does."""


class CertificateUnusable(Exception):
    """The certificate or its key cannot be served; the message names the file and the cause."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a file was when it was read: a change of either makes it another."""

    inode: int
    changed_ns: int
    size: int


class Certificates:
    """The certificates of one process, and the context for its listener.

    With `local-ca` the files are the private authority's, and whichever process finds them due
    renews them. Methods block for as long as a few small files take.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        tls = settings.server.tls
        self._clock = clock
        self._settings = settings
        self._authority = _authority(settings, clock)
        if self._authority is not None:
            self._files = (self._authority.leaf_file, self._authority.leaf_file)
        else:
            self._files = (Path(tls.cert_file), Path(tls.key_file))
        self._renewed_at = float("-inf")
        self._seen: tuple[_Seen, ...] = ()
        self._told = ""
        self._current: ssl.SSLContext | None = None

    def open(self) -> ssl.SSLContext:
        """Return the context for the listener. Raises CertificateUnusable."""
        try:
            self._renew()
            self._seen = self._look()
            self._current = self._load()
        except (OSError, AuthorityUnusable) as error:
            raise CertificateUnusable(_reason(error, *self._files)) from error
        listener = self._load()

        def newest(
            connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext
        ) -> None:
            if self._current is not None:
                connection.context = self._current

        listener.sni_callback = newest  # called also for clients that name no host
        return listener

    def refresh(self) -> None:
        """Renew what is due and take up what has changed; if it cannot be used, the old stays."""
        try:
            if self._clock.monotonic() - self._renewed_at >= _RENEW_EVERY_S:
                self._renew()
            seen = self._look()
            if seen == self._seen:
                return
            self._current = self._load()
        except (OSError, AuthorityUnusable, CertificateUnusable) as error:
            # OSError: ssl.SSLError is one; files that are just being replaced do not fit together.
            self._tell(_reason(error, *self._files))
            return
        self._seen = seen
        self._told = ""
        _log.info("a new certificate is served: %s", self._files[0])

    def _renew(self) -> None:
        if self._authority is not None:
            self._authority.ensure(names_for_certificate(self._settings))
            self._renewed_at = self._clock.monotonic()

    def _look(self) -> tuple[_Seen, ...]:
        stats = [path.stat() for path in self._files]
        return tuple(_Seen(stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        certificate, key = self._files
        # A key with a pass phrase is refused: there is nobody to ask for it.
        context.load_cert_chain(certificate, key, password=_no_password)
        return context

    def _tell(self, why: str) -> None:
        """Log a fault once, not at every look."""
        if why != self._told:
            _log.error("the certificate is not renewed, the former one is served on: %s", why)
            self._told = why


def certificates_of(settings: Settings, clock: Clock) -> Certificates | None:
    """Return what encrypts the connections of these settings, None where nothing does."""
    return None if settings.server.tls.mode == "off" else Certificates(settings, clock)


def _authority(settings: Settings, clock: Clock) -> "Authority | None":
    if settings.server.tls.mode != "local-ca":
        return None
    # Here, because it takes 8 MB of memory that hardly any gateway has a use for.
    from gateway.app.authority import Authority

    return Authority(ca_folder(settings), clock)


def _no_password() -> str:
    raise CertificateUnusable(
        "the key is protected by a pass phrase, which nobody can be asked for"
    )


def _reason(error: Exception, certificate: Path, key: Path) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{key} is not the key of {certificate}"
        return f"{certificate} or {key} is no certificate with its key (PEM)"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or certificate}: {error.strerror}"
    return str(error)
