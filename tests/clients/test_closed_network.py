"""The control of the clients' tests: a leak from the closed network would be caught."""

import socket
from pathlib import Path

import httpx
import pytest

from tests.clients.conftest import Run
from tests.support.closed_network import ClosedNetwork, why_not
from tests.support.process import Processes
from tests.support.tools import must_be_there

pytestmark = pytest.mark.xdist_group("official clients")


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    """Say loudly where nothing can be closed; in CI that is a failure."""
    reason = why_not()
    if reason is not None:
        text = f"THE CLIENTS' NETWORK IS NOT CLOSED, nobody sees what they reach beside: {reason}"
        if must_be_there():
            pytest.fail(text)
        pytest.skip(text)


def test_the_gateway_is_reached_and_nothing_is_noted(
    network: ClosedNetwork, closed: None, base: str
) -> None:
    answer = httpx.get(f"{base}/v1/account", trust_env=False)
    assert answer.status_code == 401
    assert network.attempts() == []


@pytest.mark.parametrize("address", ["192.0.2.7", "127.0.0.1"])
def test_another_address_is_out_of_reach_and_the_attempt_is_noted(
    network: ClosedNetwork, address: str
) -> None:
    network.attempts()
    with network.entered(), pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 9), timeout=5)
    assert network.attempts() == [f"tcp {address} 9"]


def test_ipv6_is_no_way_out(network: ClosedNetwork) -> None:
    network.attempts()
    with network.entered(), pytest.raises(OSError):  # noqa: PT011 - refused, or there is no IPv6
        socket.create_connection(("2001:db8::7", 443), timeout=5)
    assert network.attempts() in (["tcp 2001:db8::7 443"], [])


def test_another_port_of_the_gateways_machine_is_noted(
    network: ClosedNetwork, gateway: Processes
) -> None:
    network.attempts()
    with network.entered(), pytest.raises(OSError):  # noqa: PT011 - refused or not answered
        socket.create_connection((network.gateway, gateway.port + 1), timeout=5)
    assert network.attempts() == [f"tcp {network.gateway} {gateway.port + 1}"]


def test_asking_for_a_name_is_noted(network: ClosedNetwork) -> None:
    network.attempts()
    with network.entered():
        socket.getaddrinfo("api.replicate.com", 443, socket.AF_INET)
    assert "name api.replicate.com" in network.attempts()


def test_a_datagram_is_noted(network: ClosedNetwork) -> None:
    network.attempts()
    with network.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"key", ("192.0.2.8", 443))
    assert network.attempts() == ["udp 192.0.2.8 443"]


def test_a_client_process_that_leaks_fails_its_test(run: Run) -> None:
    leak = "curl -s -m 5 http://192.0.2.9/ || exec 3<>/dev/tcp/192.0.2.9/80 || true"
    with pytest.raises(AssertionError, match=r"tcp 192\.0\.2\.9 80"):
        run("bash", "-c", leak, cwd=Path("/"), env={})


def test_a_test_that_leaks_in_the_closed_network_fails(network: ClosedNetwork) -> None:
    def leaking() -> None:
        with network.entered(), pytest.raises(httpx.ConnectError):
            httpx.get("http://api.replicate.com/v1/account", trust_env=False)

    leaking()
    seen = network.attempts()
    assert "name api.replicate.com" in seen
    assert "tcp 192.0.2.1 80" in seen
