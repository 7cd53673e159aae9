"""A private certificate authority: made once, kept in a folder, and the certificates that it signs.

Nobody but the clients who were told so trusts it. Its key never leaves the folder.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.app.addresses import as_address
from gateway.app.trust import CA_FILE, AuthorityUnusable
from gateway.clock import Clock

_log = logging.getLogger(__name__)

CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=90)
_RENEW_IN_LAST = LEAF_LIFE / 3
_CLOCKS_DIFFER_BY = timedelta(hours=1)

_CA_KEY_FILE = "ca-key.pem"
_LEAF_FILE = "server.pem"
_LOCK_FILE = "lock"
_LONGEST_NAME = 64
"""Of a certificate's subject (RFC 5280, ub-common-name)."""


class Authority:
    """The authority in one folder; processes that share the folder take turns."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    @property
    def ca_file(self) -> Path:
        """The authority's own certificate, which clients must trust."""
        return self._folder / CA_FILE

    @property
    def leaf_file(self) -> Path:
        """The server's key and certificate, together in one file: they can only change as one."""
        return self._folder / _LEAF_FILE

    def ensure(self, names: Sequence[str]) -> bool:
        """Make what is missing, of another authority, about to expire or lacks one of these names.

        Names are host names and addresses. Returns whether there is a new certificate. Blocks.
        Raises OSError, and AuthorityUnusable rather than replace an authority that clients trust.
        """
        with self._turn():
            key, certificate = self._authority()
            if self._serves(names, certificate):
                return False
            self._issue(names, key, certificate)
            return True

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / _LOCK_FILE).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed
            yield

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC).replace(microsecond=0)

    def _authority(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key_file = self._folder / _CA_KEY_FILE
        if not self.ca_file.exists():
            # A key alone was left by a start that was cut short; nobody can trust it yet.
            return self._make_authority(key_file)
        try:
            certificate = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        except FileNotFoundError as error:
            raise AuthorityUnusable(
                f"{self.ca_file} is there without its key {key_file.name}: put the key back, or"
                f" remove {CA_FILE} for a new authority, which clients must then be told to trust"
            ) from error
        except ValueError as error:
            raise AuthorityUnusable(f"{self._folder}: {CA_FILE} or its key is damaged") from error
        if (
            not isinstance(key, ec.EllipticCurvePrivateKey)
            or key.public_key() != certificate.public_key()
        ):
            raise AuthorityUnusable(f"{self._folder}: {key_file.name} is not the key of {CA_FILE}")
        if self._now() >= certificate.not_valid_after_utc - timedelta(days=1):
            _log.warning(
                "the authority in %s has expired and is made anew: clients must trust the new %s",
                self._folder,
                self.ca_file,
            )
            return self._make_authority(key_file)
        return key, certificate

    def _make_authority(
        self, key_file: Path
    ) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        # Two gateways' authorities are told apart, in a client's list too, by a piece of the key.
        mark = hashlib.sha256(_public_bytes(key)).hexdigest()[:8]
        subject = _name(f"replicate-gateway local authority {mark}")
        now = self._now()
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCKS_DIFFER_BY)
            .not_valid_after(now + CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(own, critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(key_file, _private_pem(key), 0o600)
        _write(self.ca_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        _log.info("a private certificate authority was made: %s", self.ca_file)
        return key, certificate

    def _serves(self, names: Sequence[str], authority: x509.Certificate) -> bool:
        """Whether the present certificate will do for a while."""
        try:
            leaf = x509.load_pem_x509_certificate(self.leaf_file.read_bytes())
            leaf.verify_directly_issued_by(authority)
            named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except FileNotFoundError:
            return False
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, another is made
            _log.warning("the certificate %s is replaced: %s", self.leaf_file, error)
            return False
        known = {
            *named.get_values_for_type(x509.DNSName),
            *map(str, named.get_values_for_type(x509.IPAddress)),
        }
        left = leaf.not_valid_after_utc - self._now()
        # An authority's last certificate ends with it: another one would not live longer.
        last = leaf.not_valid_after_utc >= authority.not_valid_after_utc
        return set(names) <= known and (left > _RENEW_IN_LAST or (last and left > timedelta()))

    def _issue(
        self, names: Sequence[str], key: ec.EllipticCurvePrivateKey, authority: x509.Certificate
    ) -> None:
        own = ec.generate_private_key(ec.SECP256R1())
        now = self._now()
        signer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        leaf = (
            x509.CertificateBuilder()
            .subject_name(_name(names[0][:_LONGEST_NAME]))
            .issuer_name(authority.subject)
            .public_key(own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - _CLOCKS_DIFFER_BY, authority.not_valid_before_utc))
            .not_valid_after(min(now + LEAF_LIFE, authority.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName(list(map(_general, names))), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        pem = _private_pem(own) + leaf.public_bytes(serialization.Encoding.PEM)
        _write(self.leaf_file, pem, 0o600)
        _log.info(
            "a certificate was made for %s, good until %s",
            ", ".join(names),
            f"{leaf.not_valid_after_utc:%Y-%m-%d}",
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general(name: str) -> x509.GeneralName:
    address = as_address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put the whole file in its place at once; it never has another mode."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
