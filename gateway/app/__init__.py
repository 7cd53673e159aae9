"""The only place where services are made and tied together."""

from gateway.app.assembly import Gateway
from gateway.app.policy import policy_of
from gateway.app.tls import Certificates, CertificateUnusable, certificates_of
from gateway.app.trust import trust_lines

__all__ = [
    "CertificateUnusable",
    "Certificates",
    "Gateway",
    "certificates_of",
    "policy_of",
    "trust_lines",
]
