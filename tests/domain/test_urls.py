"""Which URL means what, in both directions."""

from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.domain.urls import (
    ApiUrl,
    DeliveryUrl,
    Foreign,
    GatewayApi,
    GatewayApiFile,
    GatewayDelivery,
    StreamTokens,
    StreamUrl,
    origin_of,
)
from tests.domain.known_urls import GATEWAY, LOCAL, OWN, TOKENS, URLS, api_urls, delivery_urls


@given(delivery_urls)
def test_an_output_url_has_one_client_form_and_comes_back_from_it(url: str) -> None:
    client = URLS.delivery_to_client(url, GATEWAY)
    parts = urlsplit(client)
    assert client.startswith(f"{GATEWAY}/replicate/delivery/")
    raw_path = parts.path.removeprefix("/replicate/delivery/")
    assert URLS.delivery_from_path(raw_path, parts.query) == url
    assert URLS.from_client(client, OWN) == GatewayDelivery(url)


@given(api_urls)
def test_an_api_url_has_one_client_form_and_comes_back_from_it(url: str) -> None:
    client = URLS.api_to_client(url, GATEWAY)
    assert client == url.replace("https://api.replicate.com", f"{GATEWAY}/replicate")
    back = URLS.from_client(client, OWN)
    if isinstance(back, GatewayApiFile | GatewayApi):
        assert back.upstream_url == url or "/v1/v1" in url or "/files/" in url
    else:
        assert "/files/" in url


@settings(max_examples=200)
@given(delivery_urls, delivery_urls)
def test_two_output_urls_never_share_a_client_form(one: str, other: str) -> None:
    assume(one != other)
    assert URLS.delivery_to_client(one, GATEWAY) != URLS.delivery_to_client(other, GATEWAY)


@given(st.text() | st.from_regex(r"https?://[a-z.@:/\\?# ]{0,40}", fullmatch=True))
def test_everything_that_is_not_a_url_of_a_known_origin_stays(text: str) -> None:
    if isinstance(URLS.classify(text), Foreign):
        assert URLS.delivery_to_client(text, GATEWAY) == text
        assert URLS.api_to_client(text, GATEWAY) == text
        assert URLS.stream_to_client(text, "p1", GATEWAY) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "replicate.delivery/xezq/out.png",
        " https://replicate.delivery/xezq/out.png",
        "https://replicate.delivery/xezq/out.png\n",
        "see https://replicate.delivery/xezq/out.png",
        "https://replicate.delivery/a.png https://replicate.delivery/b.png",
        "https://replicate.delivery/a.png,https://replicate.delivery/b.png",
        "https://replicate.delivery",
        "https://replicate.delivery/",
        "https://replicate.delivery?x",
        "https://replicate.delivery/x?",
        "https://replicate.delivery/x#y",
        "https://replicate.delivery/x#",
        "https://user@replicate.delivery/x",
        "https://replicate.delivery:443/x",
        "https://replicate.delivery:8443/x",
        "https://replicate.delivery./x",
        "https://Replicate.Delivery/x",
        "HTTPS://replicate.delivery/x",
        "http://replicate.delivery/x",
        "https://evilreplicate.delivery/x",
        "https://replicate.delivery.evil.example/x",
        "https://evil.example/replicate.delivery/x",
        "https://.replicate.delivery/x",
        "https://replicate.delivery\\@evil.example/x",
        "https://replicate.delivery/a\\b",
        "https://replicate.delivery/a//b",
        "https://replicate.delivery/../x",
        "https://replicate.delivery/a/.",
        "https://replicate.delivery/a/%2E%2e/b",
        "https://replicate.delivery/a%2fb",
        "https://replicate.delivery/a%5Cb",
        "https://replicate.delivery/a%00b",
        "https://replicate.delivery/100%",
        "https://replicate.delivery/%zz",
        "https://replicate.delivery/a\u200bb",
        "https://replicate.delivery/a\u2028b",
        "https://replicate.delivery/" + "a" * 9000,
        "data:image/png;base64,aHR0cHM6Ly9yZXBsaWNhdGUuZGVsaXZlcnkv",
    ],
)
def test_what_only_resembles_an_output_url_stays(text: str) -> None:
    assert URLS.delivery(text) is None
    assert URLS.delivery_to_client(text, GATEWAY) == text


def test_characters_that_every_client_encodes_are_encoded_in_name_and_form() -> None:
    found = URLS.delivery("https://replicate.delivery/x/café {1}.png".replace(" ", "_"))
    assert found == DeliveryUrl(
        "replicate.delivery",
        "/x/caf%C3%A9_%7B1%7D.png",
        "https://replicate.delivery/x/caf%C3%A9_%7B1%7D.png",
    )


def test_classify_tells_what_upstream_urls_are() -> None:
    assert URLS.classify("https://api.replicate.com/v1/predictions/x") == ApiUrl(
        "/v1/predictions/x"
    )
    assert URLS.classify("http://api.replicate.com/v1/predictions?cursor=cD0%3D") == ApiUrl(
        "/v1/predictions?cursor=cD0%3D"
    )
    url = "https://pb.replicate.delivery/a/b.png?c=d"
    assert URLS.classify(url) == DeliveryUrl("pb.replicate.delivery", "/a/b.png?c=d", url)
    for kind in ("files", "streams", "predictions"):
        url = f"https://stream-b.svc.ric1.c.replicate.net/v1/{kind}/abc"
        assert URLS.classify(url) == StreamUrl(kind, url)
    assert URLS.classify("https://stream.replicate.com/new/abc") == StreamUrl(
        "streams", "https://stream.replicate.com/new/abc"
    )
    for url in ("https://replicate.com/p/x", "https://example.org/v1/x", "hello"):
        assert URLS.classify(url) == Foreign()


def test_a_delivery_host_with_a_port_comes_back_with_its_configured_scheme() -> None:
    url = "http://127.0.0.1:9001/files/a.png"
    client = LOCAL.delivery_to_client(url, "http://localhost:8080")
    assert client == "http://localhost:8080/replicate/delivery/127.0.0.1:9001/files/a.png"
    assert LOCAL.delivery_from_path("127.0.0.1:9001/files/a.png") == url
    assert LOCAL.delivery_from_path("replicate.delivery/a") == "https://replicate.delivery/a"
    assert LOCAL.from_client(client, OWN) == GatewayDelivery(url)


def test_an_origin_that_serves_everything_is_told_apart_by_place() -> None:
    assert LOCAL.api("http://127.0.0.1:9001/v1/predictions/x") == ApiUrl("/v1/predictions/x")
    assert LOCAL.delivery("http://127.0.0.1:9001/v1/x") is not None
    assert LOCAL.stream("http://127.0.0.1:9001/v1/streams/x") is not None


def test_a_stream_keeps_its_kind_and_gets_a_token_of_ours() -> None:
    url = "https://stream.replicate.com/v1/files/bcwr-secret"
    client = URLS.stream_to_client(url, "p1", GATEWAY)
    assert client is not None
    assert client.startswith(f"{GATEWAY}/v1/files/p1-")
    assert "secret" not in client
    token = client.rpartition("/")[2]
    assert TOKENS.open(token) == "p1"
    assert TOKENS.verify(token, "p1", url)
    assert TOKENS.verify(token, "p1", "https://stream.replicate.com/v1/files/another")
    assert TOKENS.read("files", token) == "p1"


def test_a_stream_token_opens_nothing_but_its_own_stream() -> None:
    url = "https://stream.replicate.com/v1/files/x"
    token = TOKENS.seal("p1", url)
    assert not TOKENS.verify(token, "p2", url)
    assert not TOKENS.verify(token, "p1", "https://stream.replicate.com/v1/streams/x")
    assert TOKENS.read("streams", token) is None
    assert TOKENS.read("files", token.replace("p1-", "p2-")) is None
    assert StreamTokens(b"t" * 32).read("files", token) is None
    for guess in ("", "p1", "p1-", "p1-" + "a" * 40, token + "a", token.upper(), "\u00e9"):
        assert TOKENS.read("files", guess) is None


@pytest.mark.parametrize(
    "url", ["https://stream.example.org/v1/files/x", "http://stream.replicate.com/v1/files/x", "x"]
)
def test_a_stream_of_another_origin_has_no_client_form(url: str) -> None:
    assert URLS.stream_to_client(url, "p1", GATEWAY) is None


def test_a_short_secret_for_stream_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        StreamTokens(b"short")


def test_logs_get_only_the_origin_of_a_url() -> None:
    assert origin_of("https://user:pw@Stream.example.org/v1/files/secret?s=1") == (
        "https://stream.example.org"
    )
    assert origin_of("secret") == "no URL"
