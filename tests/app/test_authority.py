"""The private authority: made once, kept to itself, its certificates always good."""

import os
import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from gateway.app.addresses import names_for_certificate
from gateway.app.authority import CA_LIFE, LEAF_LIFE, Authority
from gateway.app.trust import AuthorityUnusable
from gateway.settings import load
from tests.support.clock import ManualClock

NAMES = ["localhost", "127.0.0.1", "::1", "box.example"]
DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authority(tmp_path: Path, clock: ManualClock) -> Authority:
    return Authority(tmp_path / "tls", clock)


def leaf(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.leaf_file.read_bytes())


def named(authority: Authority) -> set[str]:
    found = leaf(authority).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        *found.get_values_for_type(x509.DNSName),
        *map(str, found.get_values_for_type(x509.IPAddress)),
    }


def test_it_is_made_once_and_its_certificate_only_when_there_is_a_reason(
    authority: Authority,
) -> None:
    assert authority.ensure(NAMES)
    first = authority.ca_file.read_bytes(), authority.leaf_file.read_bytes()
    assert not authority.ensure(NAMES)
    assert not authority.ensure(NAMES[:2])
    assert (authority.ca_file.read_bytes(), authority.leaf_file.read_bytes()) == first
    assert authority.ensure([*NAMES, "192.0.2.7"])
    assert authority.ca_file.read_bytes() == first[0]
    assert named(authority) == {*NAMES, "192.0.2.7"}


def test_keys_are_their_owners_alone_whatever_the_umask(authority: Authority) -> None:
    before = os.umask(0)
    try:
        authority.ensure(NAMES)
    finally:
        os.umask(before)
    folder = authority.ca_file.parent
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes["ca-key.pem"] == modes["server.pem"] == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert b"PRIVATE" not in authority.ca_file.read_bytes()


def test_strict_verifiers_accept_the_chain(authority: Authority, clock: ManualClock) -> None:
    authority.ensure(NAMES)
    ca = x509.load_pem_x509_certificate(authority.ca_file.read_bytes())
    at = leaf(authority).not_valid_before_utc + timedelta(days=2)
    builder = PolicyBuilder().store(Store([ca])).time(at)
    builder.build_server_verifier(x509.DNSName("box.example")).verify(leaf(authority), [])
    usage = leaf(authority).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert abs((ca.not_valid_after_utc - ca.not_valid_before_utc) - CA_LIFE) < timedelta(days=1)


def test_a_certificate_is_renewed_in_its_last_third_and_not_before(
    authority: Authority, clock: ManualClock
) -> None:
    authority.ensure(NAMES)
    ca, first = authority.ca_file.read_bytes(), leaf(authority)
    clock.advance(59 * DAY)
    assert not authority.ensure(NAMES)
    clock.advance(2 * DAY)
    assert authority.ensure(NAMES)
    assert leaf(authority).not_valid_after_utc - first.not_valid_after_utc > timedelta(days=60)
    assert authority.ca_file.read_bytes() == ca


def test_no_certificate_outlives_the_authority_and_a_new_one_follows(
    authority: Authority, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    authority.ensure(NAMES)
    ca = x509.load_pem_x509_certificate(authority.ca_file.read_bytes())
    clock.advance(CA_LIFE.total_seconds() - 10 * DAY)
    assert authority.ensure(NAMES)
    assert leaf(authority).not_valid_after_utc == ca.not_valid_after_utc
    assert not authority.ensure(NAMES)  # the last one: another would live no longer
    clock.advance(10 * DAY)
    assert authority.ensure(NAMES)
    assert x509.load_pem_x509_certificate(authority.ca_file.read_bytes()) != ca
    assert "clients must trust the new" in caplog.text
    assert leaf(authority).not_valid_after_utc - leaf(authority).not_valid_before_utc >= LEAF_LIFE


def test_an_authority_that_clients_trust_is_never_replaced_for_a_fault(
    authority: Authority,
) -> None:
    authority.ensure(NAMES)
    ca = authority.ca_file.read_bytes()
    key = authority.ca_file.with_name("ca-key.pem")
    kept = key.read_bytes()
    for fault in (None, b"not a key", authority.leaf_file.read_bytes()):
        if fault is None:
            key.unlink()
        else:
            key.write_bytes(fault)
        with pytest.raises(AuthorityUnusable):
            authority.ensure(NAMES)
        assert authority.ca_file.read_bytes() == ca
    key.write_bytes(kept)
    assert not authority.ensure(NAMES)


def test_a_damaged_certificate_is_made_anew(authority: Authority) -> None:
    authority.ensure(NAMES)
    authority.leaf_file.write_text("nonsense")
    assert authority.ensure(NAMES)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(authority.leaf_file)


def test_certificates_bear_every_name_that_the_settings_know(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        """
        [server]
        host = "192.0.2.33"
        public_url = "https://Replicate.Example.com"
        public_aliases = ["https://pictures.example:8443", "http://[2001:db8::5]:8080"]
        """
    )
    names = names_for_certificate(load(file, {}))
    assert {
        *("localhost", "127.0.0.1", "::1", "192.0.2.33"),
        *("replicate.example.com", "pictures.example", "2001:db8::5"),
    } <= set(names)
    assert len(names) == len(set(names))
