import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.webhook_urls import address_allowed, check_webhook_url


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?x=1",
        "https://example.com:8443/",
        "https://user:pass@example.com/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://bücher.example/",
    ],
)
def test_public_https_addresses_are_allowed(url: str) -> None:
    assert check_webhook_url(url, allow_private=False) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "javascript:alert(1)",
        "example.com/hook",
        "https:///hook",
        "https://",
        "",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://db.internal/",
        "https://printer.local/",
        "https://intranet/",
        "https://2130706433/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://[::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:7f00:1::]/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\r\nX: y",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/" + "a" * 3000,
    ],
)
def test_everything_else_is_refused_with_a_reason(url: str) -> None:
    reason = check_webhook_url(url, allow_private=False)
    assert reason is not None
    assert reason.startswith("it ")


def test_private_addresses_and_http_can_be_allowed() -> None:
    for url in ("http://127.0.0.1:8000/hook", "http://receiver:8000/", "https://10.0.0.1/"):
        assert check_webhook_url(url, allow_private=True) is None
    assert check_webhook_url("gopher://10.0.0.1/", allow_private=True) is not None


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "::",
        "::1",
        "::7f00:1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:192.168.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:a00:1::",
        "2001:db8::1",
        "not an address",
        "",
    ],
)
def test_addresses_that_are_not_public_are_not_connected_to(address: str) -> None:
    assert not address_allowed(address, allow_private=False)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_connected_to(address: str) -> None:
    assert address_allowed(address, allow_private=False)


@given(st.ip_addresses(v=4))
def test_an_ipv6_disguise_never_changes_the_verdict(address: ipaddress.IPv4Address) -> None:
    plain = address_allowed(address, allow_private=False)
    for disguise in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert address_allowed(disguise, allow_private=False) == plain
