"""The points that a set-up is examined for beyond this machine: Replicate, addresses, trust."""

import asyncio
import json
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import certifi
from cryptography import x509

from gateway.app.checkup import Finding, Point, Verdict, failed, ok
from gateway.app.secret import SECRET_FACT
from gateway.app.trust import CA_FILE, ca_folder
from gateway.clock import Clock
from gateway.domain.instance import NONCE_HEADER, PROOF_HEADER, proves
from gateway.ledger import Ledger, LedgerError, published
from gateway.settings import Settings
from gateway.upstream.probe import Probed, ProbeFailed, probe
from gateway.upstream.wire import tls_context

_ANYWHERE = frozenset({"0.0.0.0", "::", ""})
_SKEW_NOTED_S, _SKEW_FAILED_S = 5.0, 60.0
_RENEW_WITHIN_DAYS = 14


class Network:
    """Looks at the network's points; each address is asked once."""

    def __init__(self, settings: Settings, clock: Clock, trusted: Path | None) -> None:
        """`trusted` is the file of authorities that the environment names for clients, if any."""
        self._settings = settings
        self._clock = clock
        self._trusted = trusted
        self._asking, self._serving = asyncio.Lock(), asyncio.Lock()
        self._asked: Probed | ProbeFailed | None = None
        self._served: bool | ProbeFailed | None = None

    def points(self) -> list[Point]:
        """Return the points, the farthest first."""
        return [
            self.upstream,
            self.token,
            self.time,
            self.port,
            self.public_url,
            self.certificate,
            self.trust,
            self.clients,
        ]

    async def upstream(self) -> Finding:
        """Whether Replicate answers."""
        base = self._settings.upstream.base_url
        answer = await self._ask_upstream()
        if isinstance(answer, ProbeFailed):
            cure = "check the network, DNS and firewall of this machine, and upstream.base_url"
            return failed("upstream", f"{base}: {answer}", cure)
        if answer.status >= 500:
            return failed("upstream", f"{base} answers {answer.status}", "wait, and look again")
        return ok("upstream", f"{base} answers")

    async def token(self) -> Finding:
        """Whether the token is accepted, and whose it is."""
        if not self._token:
            return failed(
                "token",
                "none is set: `serve` would start a simulated Replicate",
                "set REPLICATE_API_TOKEN (or upstream.token) to the account's token",
            )
        answer = await self._ask_upstream()
        if isinstance(answer, ProbeFailed):
            return Finding("token", Verdict.SKIPPED, "cannot be tried without upstream")
        if answer.status in (401, 403):
            cure = "copy it anew from the account's API tokens: https://replicate.com/account"
            return failed("token", "Replicate does not accept it", cure)
        name = _username(answer.body) if answer.status == 200 else None
        if name is None:
            cure = "is upstream.base_url Replicate's API?"
            return failed("token", f"upstream answers {answer.status}, without an account", cure)
        return ok("token", f"accepted; the account is {name}")

    async def time(self) -> Finding:
        """Whether this machine's clock agrees with Replicate's."""
        answer = await self._ask_upstream()
        date = None if isinstance(answer, ProbeFailed) else answer.headers.get("date")
        if date is None:
            return Finding("clock", Verdict.SKIPPED, "nothing to compare it with")
        try:
            skew = self._clock.now() - parsedate_to_datetime(date).timestamp()
        except ValueError:
            return Finding("clock", Verdict.SKIPPED, "upstream's date cannot be read")
        if abs(skew) <= _SKEW_NOTED_S:
            return ok("clock", f"within {_SKEW_NOTED_S:g} s of Replicate's")
        said = f"{abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} Replicate's"
        verdict = Verdict.FAILED if abs(skew) > _SKEW_FAILED_S else Verdict.NOTE
        cure = "set this machine's clock, for example: timedatectl set-ntp true"
        return Finding("clock", verdict, said, cure)

    async def port(self) -> Finding:
        """Whether this gateway serves at its port, or could."""
        server = self._settings.server
        name = f"{server.host}:{server.port}"
        if server.port == 0:
            return Finding("port", Verdict.SKIPPED, "any free one is taken at the start")
        answer = await self._serves_here()
        if answer is True:
            return ok("port", f"this gateway serves at {name}")
        if isinstance(answer, ProbeFailed) and answer.refused:
            return ok("port", f"{name} is free; no gateway is running there")
        said = f"{name} is taken by something else"
        if answer is not False:
            said = f"{name}: {answer}"
        return failed("port", said, "stop that program, or choose another server.port")

    async def public_url(self) -> Finding:
        """Whether the public address leads to this very gateway."""
        url = self._settings.server.public_url
        if not url:
            said = "not set: clients read URLs with the address that they used"
            return Finding("public_url", Verdict.OK, said)
        if await self._serves_here() is not True:
            said = "needs a running gateway: start it, and look again"
            return Finding("public_url", Verdict.SKIPPED, said)
        answer = await self._proof_at(url, _unchecked())
        listener = f"{self._settings.server.host}:{self._settings.server.port}"
        if answer is True:
            return ok("public_url", f"{url} leads to this gateway")
        if answer is False:
            cure = f"let its name or proxy lead to {listener}, and `/healthz` through unchanged"
            return failed("public_url", f"{url} answers, but is not this gateway", cure)
        cure = f"let its name, firewall and proxy lead to {listener}"
        return failed("public_url", f"{url} cannot be reached from here: {answer}", cure)

    async def certificate(self) -> Finding:
        """Whether the certificate is good, for long enough and for the right names."""
        tls = self._settings.server.tls
        if tls.mode == "off":
            return Finding("certificate", Verdict.SKIPPED, "server.tls.mode is off")
        file = Path(tls.cert_file)
        if tls.mode == "local-ca":
            file = ca_folder(self._settings) / "server.pem"
            if not file.exists():
                return ok("certificate", "none yet; the first start makes one")
        try:
            found = x509.load_pem_x509_certificates(await asyncio.to_thread(file.read_bytes))[0]
        except (OSError, ValueError, IndexError) as error:
            said = getattr(error, "strerror", None) or "no certificate (PEM) is in it"
            return failed("certificate", f"{file}: {said}", "see server.tls.cert_file")
        left = found.not_valid_after_utc - datetime.fromtimestamp(self._clock.now(), UTC)
        until = f"{found.not_valid_after_utc:%Y-%m-%d}"
        renewed = tls.mode == "local-ca"
        cure = "start the gateway, which renews it" if renewed else "renew it; no restart is needed"
        if left.total_seconds() <= 0:
            return failed("certificate", f"{file} expired on {until}", cure)
        host = self._public_host()
        if host and not _names(found, host):
            cure = "start the gateway, which adds it" if renewed else "get one that names it"
            return failed("certificate", f"{file} does not name {host}", cure)
        if left.days < _RENEW_WITHIN_DAYS and not renewed:
            return Finding("certificate", Verdict.NOTE, f"{file} is good until {until} only", cure)
        return ok("certificate", f"{file} is good until {until}")

    async def trust(self) -> Finding:
        """Whether the official clients would believe the certificate."""
        tls, url = self._settings.server.tls, self._address()
        if not url.startswith("https:"):
            return Finding("trust", Verdict.SKIPPED, "the gateway is reached without TLS")
        if tls.mode == "local-ca" and self._trusted is None:
            ca = (ca_folder(self._settings) / CA_FILE).absolute()
            said = f"clients must be told to trust {ca}"
            return Finding("trust", Verdict.NOTE, said, "the lines to do so are below")
        if await self._serves_here() is not True:
            said = "needs a running gateway: start it, and look again"
            return Finding("trust", Verdict.SKIPPED, said)
        # What httpx, and so the Python client, goes by; Node.js's own list is the same.
        authorities = str(self._trusted or certifi.where())
        try:
            context = ssl.create_default_context(cafile=authorities)
        except OSError as error:
            said = f"{authorities} cannot be read: {error.strerror}"
            return failed("trust", said, "correct SSL_CERT_FILE")
        answer = await self._proof_at(url, context)
        if isinstance(answer, ProbeFailed) and answer.untrusted:
            cure = "serve the whole chain of a public authority, or use server.tls.mode = local-ca"
            if tls.mode == "local-ca":
                cure = "the lines that make clients trust it are below"
            return failed("trust", f"official clients refuse {url}: {answer}", cure)
        if isinstance(answer, ProbeFailed):
            return failed("trust", f"{url}: {answer}", "let the address lead to this gateway")
        return ok("trust", f"official clients believe {url}")

    async def clients(self) -> Finding:
        """Whether official clients get file objects."""
        if self._address().startswith("https:"):
            return ok("official clients", "URLs begin with https, so outputs are file objects")
        return Finding(
            "official clients",
            Verdict.NOTE,
            "without https outputs are plain strings to them: .read() fails",
            'set server.tls.mode = "local-ca", or an https public_url with a proxy',
        )

    @property
    def _token(self) -> str:
        return self._settings.upstream.token.get_secret_value()

    def _address(self) -> str:
        """Return the address that clients use, as far as it is known."""
        return self._settings.server.public_url or self._listener()

    def _listener(self) -> str:
        server = self._settings.server
        host = "127.0.0.1" if server.host in _ANYWHERE else server.host
        scheme = "http" if server.tls.mode == "off" else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"

    def _public_host(self) -> str:
        """Return the name that the certificate served here must bear."""
        return urlsplit(self._settings.server.public_url).hostname or ""

    async def _ask_upstream(self) -> Probed | ProbeFailed:
        async with self._asking:
            if self._asked is None:
                headers = {"accept": "application/json", "user-agent": "replicate-gateway"}
                if self._token:
                    headers["authorization"] = f"Bearer {self._token}"
                url = f"{self._settings.upstream.base_url}/v1/account"
                self._asked = await _probe(url, tls_context(), headers)
            return self._asked

    async def _serves_here(self) -> bool | ProbeFailed:
        async with self._serving:
            if self._served is None:
                self._served = await self._proof_at(self._listener(), _unchecked())
            return self._served

    async def _proof_at(self, origin: str, context: ssl.SSLContext) -> bool | ProbeFailed:
        """Whether this very gateway answers at an origin: one that has its ledger's secret."""
        nonce = self._clock.secret(16).hex()
        answer = await _probe(f"{origin}/healthz", context, {NONCE_HEADER: nonce})
        if isinstance(answer, ProbeFailed):
            return answer
        secret = await self._secret()
        return secret is not None and proves(secret, nonce, answer.headers.get(PROOF_HEADER))

    async def _secret(self) -> bytes | None:
        storage = self._settings.storage
        if not storage.database_url and not (storage.data_dir / "ledger.sqlite3").exists():
            return None
        try:
            ledger = Ledger(storage.database_url, self._clock, folder=storage.data_dir)
            async with ledger:
                kept = await ledger.read(lambda conn: published.recall(conn, SECRET_FACT))
        except (LedgerError, OSError):
            return None  # the ledger's own point says so
        return None if kept is None else bytes.fromhex(kept)


async def _probe(
    url: str, context: ssl.SSLContext, headers: dict[str, str]
) -> Probed | ProbeFailed:
    try:
        return await asyncio.to_thread(probe, url, context=context, headers=headers)
    except ProbeFailed as error:
        return error


def _unchecked() -> ssl.SSLContext:
    """Return a context that believes anybody: whom it reached is told by the proof."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _username(body: bytes) -> str | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    name = document.get("username") if isinstance(document, dict) else None
    return name if isinstance(name, str) and name else None


def _names(certificate: x509.Certificate, host: str) -> bool:
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ip_address(host) in named.get_values_for_type(x509.IPAddress)
    except ValueError:
        pass
    parent = host.partition(".")[2]
    known = {name.lower() for name in named.get_values_for_type(x509.DNSName)}
    return host.lower() in known or (bool(parent) and f"*.{parent}" in known)
