import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from gateway.web.origin import Origins, came_through_proxy, is_loopback
from gateway.web.problem_response import ProblemError
from tests.web.asgi import make_scope

PROXY = "10.0.0.2"


def origins(
    public_url: str = "", aliases: tuple[str, ...] = (), trusted: tuple[str, ...] = ("10.0.0.0/8",)
) -> Origins:
    return Origins(
        public_url=public_url,
        aliases=aliases,
        trusted_proxies=trusted,
        listener="http://127.0.0.1:8080",
    )


def asked(
    *headers: tuple[str, str], client: str | None = "198.51.100.7", scheme: str = "http"
) -> Scope:
    return make_scope(headers=headers, client=client, scheme=scheme)


@pytest.mark.parametrize(
    ("host", "scheme", "origin"),
    [
        ("localhost:8080", "http", "http://localhost:8080"),
        ("192.168.1.5:8080", "http", "http://192.168.1.5:8080"),
        ("Gateway.Example", "https", "https://gateway.example"),
        ("gateway.example:443", "https", "https://gateway.example"),
        ("gateway.example:80", "http", "http://gateway.example"),
        ("gateway.example:443", "http", "http://gateway.example:443"),
        ("[::1]:8080", "http", "http://[::1]:8080"),
        ("replicate_gateway:8080", "http", "http://replicate_gateway:8080"),
    ],
)
def test_without_a_public_url_the_origin_is_what_the_client_used(
    host: str, scheme: str, origin: str
) -> None:
    assert origins().of(asked(("host", host), scheme=scheme)) == origin


def test_the_public_url_wins_over_what_the_client_used() -> None:
    scope = asked(("host", "localhost:8080"))
    assert origins("https://Gateway.example/").of(scope) == "https://gateway.example"


def test_a_client_that_names_no_host_gets_the_listeners_origin() -> None:
    assert origins().of(asked()) == "http://127.0.0.1:8080"


@pytest.mark.parametrize("headers", [(), (("host", ""),), (("host", "  "),)])
@pytest.mark.parametrize(
    ("server", "origin"),
    [
        (("192.168.1.5", 8080), "http://192.168.1.5:8080"),
        (("::1", 8080), "http://[::1]:8080"),
        (("127.0.0.1", 80), "http://127.0.0.1"),
        (("/run/gateway.sock", None), "http://127.0.0.1:8080"),
        (("0.0.0.0", 8080), "http://127.0.0.1:8080"),
    ],
)
def test_or_the_address_at_which_it_arrived(
    headers: tuple[tuple[str, str], ...], server: tuple[str, int | None], origin: str
) -> None:
    assert origins().of({**asked(*headers), "server": server}) == origin


@pytest.mark.parametrize(
    "host",
    [
        "a b", "a/b", "a@b", "a?b", "a#b", "<script>", "evil.example/..", "a:99999", "a:x", "[::1",
        "-", ".", "a\\b", "ä.example", "a" * 300, "a:", "x,y", "%0d%0a",
    ],
)  # fmt: skip
def test_a_host_that_cannot_be_one_is_400(host: str) -> None:
    with pytest.raises(ProblemError) as caught:
        origins().of(asked(("host", host)))
    assert caught.value.problem.status == 400


def test_two_hosts_are_400() -> None:
    with pytest.raises(ProblemError):
        origins().of(asked(("host", "a"), ("host", "b")))


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_whatever_the_host_says_the_origin_has_no_place_for_more_than_a_host(host: str) -> None:
    try:
        origin = origins().of(asked(("host", host)))
    except ProblemError:
        return
    assert origin.startswith("http://")
    assert not set(origin.removeprefix("http://")) & set("/?#@\\ <>\"'\r\n\t%,")


def test_forwarded_headers_count_from_trusted_proxies() -> None:
    headers = (
        ("host", "internal:8080"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "gateway.example"),
        ("x-forwarded-for", "203.0.113.9"),
    )
    behind = asked(*headers, client=PROXY)
    direct = asked(*headers)
    assert origins().of(behind) == "https://gateway.example"
    assert origins().client_address(behind) == "203.0.113.9"
    assert origins().of(direct) == "http://internal:8080"
    assert origins().client_address(direct) == "198.51.100.7"
    assert origins(trusted=()).of(behind) == "http://internal:8080"


def test_a_proxy_may_forward_the_scheme_alone() -> None:
    scope = asked(("host", "gateway.example"), ("x-forwarded-proto", "https"), client=PROXY)
    assert origins().of(scope) == "https://gateway.example"


def test_what_a_client_wrote_left_of_its_proxys_word_is_not_believed() -> None:
    scope = asked(
        ("host", "internal"),
        ("x-forwarded-proto", "http, https"),
        ("x-forwarded-host", "evil.example, gateway.example"),
        ("x-forwarded-for", "10.9.9.9, 203.0.113.9"),
        client=PROXY,
    )
    assert origins().of(scope) == "https://gateway.example"
    assert origins().client_address(scope) == "203.0.113.9"


def test_behind_two_trusted_proxies_the_outer_ones_word_counts() -> None:
    scope = asked(
        ("host", "internal"),
        ("x-forwarded-proto", "https, http"),
        ("x-forwarded-host", "gateway.example, inner.example"),
        ("x-forwarded-for", "203.0.113.9, 10.0.0.1"),
        client=PROXY,
    )
    assert origins().of(scope) == "https://gateway.example"
    assert origins().client_address(scope) == "203.0.113.9"


@pytest.mark.parametrize(
    "value",
    [
        "for=203.0.113.9;proto=https;host=gateway.example:8443",
        'For="203.0.113.9:1234"; Proto=https; Host="gateway.example:8443"',
        "for=1.2.3.4;host=evil.example, for=203.0.113.9;host=gateway.example:8443;proto=https",
    ],
)
def test_the_standard_forwarded_header_is_understood(value: str) -> None:
    scope = asked(("host", "internal"), ("forwarded", value), client=PROXY)
    assert origins().of(scope) == "https://gateway.example:8443"


def test_a_forwarded_header_that_the_proxy_passed_on_unread_is_not_believed() -> None:
    scope = asked(
        ("host", "gateway.example"),
        ("forwarded", "host=evil.example"),
        ("x-forwarded-proto", "https"),
        client=PROXY,
    )
    assert origins().of(scope) == "https://gateway.example"


@pytest.mark.parametrize(
    "header",
    [("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a b"), ("forwarded", "host=a/b")],
)
def test_nonsense_from_a_trusted_proxy_is_400(header: tuple[str, str]) -> None:
    with pytest.raises(ProblemError):
        origins().of(asked(("host", "internal"), header, client=PROXY))


def test_a_peer_known_by_its_mapped_address_is_the_same_peer() -> None:
    scope = asked(("host", "a"), ("x-forwarded-proto", "https"), client="::ffff:10.0.0.2")
    assert origins().of(scope) == "https://a"


def test_own_origins_are_the_public_one_its_aliases_and_the_one_used() -> None:
    known = origins("https://gateway.example", ("http://Old.example:80",))
    scope = asked(("host", "localhost:8080"))
    assert known.own_origins(scope) == {
        "https://gateway.example",
        "http://old.example",
        "http://localhost:8080",
    }


def test_another_spelling_of_an_origin_is_the_same_one() -> None:
    known = origins("http://gateway.example")
    assert known.own_origins(asked(("host", "GATEWAY.example:80"))) == {"http://gateway.example"}


def test_any_number_of_hosts_leaves_a_bounded_memory() -> None:
    known = origins()
    for number in range(1000):
        assert known.of(asked(("host", f"h{number}"))) == f"http://h{number}"
    assert len(known._known) <= 256


@pytest.mark.parametrize("public_url", ["gateway.example", "https://a/b", "ftp://a", "https://u@a"])
def test_a_public_url_that_is_no_origin_stops_the_start(public_url: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        origins(public_url)


@pytest.mark.parametrize(
    ("client", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        (None, False),
    ],
)
def test_loopback_peers_are_recognised(client: str | None, local: bool) -> None:
    assert is_loopback(asked(client=client)) is local


@pytest.mark.parametrize(
    ("name", "proxied"),
    [
        ("X-Forwarded-For", True),
        ("X-Forwarded-Prefix", True),
        ("Forwarded", True),
        ("Via", True),
        ("X-Real-IP", True),
        ("Accept", False),
    ],
)
def test_a_proxy_between_is_noticed_by_any_of_its_headers(name: str, proxied: bool) -> None:
    assert came_through_proxy(asked((name, "x"))) is proxied
