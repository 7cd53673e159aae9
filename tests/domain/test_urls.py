"""Which URL means what, in both directions."""

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.domain.origins import canonical_origin
from gateway.domain.urls import (
    ApiUrl,
    DeliveryUrl,
    Foreign,
    GatewayApi,
    GatewayApiFile,
    GatewayDelivery,
    GatewayUnusable,
    StreamTokens,
    StreamUrl,
    UnsafePath,
    UpstreamOrigins,
    UrlMap,
    origin_of,
    parse_origin_pattern,
)

OFFICIAL = UpstreamOrigins(
    api="https://api.replicate.com",
    delivery=tuple(
        map(parse_origin_pattern, ["https://replicate.delivery", "https://*.replicate.delivery"])
    ),
    streams=tuple(
        map(parse_origin_pattern, ["https://*.replicate.com", "https://*.replicate.net"])
    ),
)
TOKENS = StreamTokens(b"s" * 32)
URLS = UrlMap(OFFICIAL, TOKENS)
GATEWAY = "https://gw.example.org"
OWN = [GATEWAY, "http://localhost:8080"]

LOCAL = UrlMap(
    UpstreamOrigins(
        api="http://127.0.0.1:9001",
        delivery=(
            parse_origin_pattern("http://127.0.0.1:9001"),
            parse_origin_pattern("https://replicate.delivery"),
        ),
        streams=(parse_origin_pattern("http://127.0.0.1:9001"),),
    ),
    TOKENS,
)

hosts = st.sampled_from(
    ["replicate.delivery", "pb.replicate.delivery", "a-1.b2.replicate.delivery"]
)
segments = st.one_of(
    st.text("abcXYZ019-_~!$&'()*+,;=:@", min_size=1, max_size=12),
    st.sampled_from(["out-0.png", "%20", "a%C3%A9.webp", "xezq", "...", "a..b", ".hidden", "%25"]),
).filter(lambda step: step not in (".", ".."))
paths = st.lists(segments, min_size=1, max_size=4).map("/".join)
queries = st.one_of(
    st.just(""),
    st.text("abcAZ09-._~!$&'()*+,;=:@/?", min_size=1, max_size=20),
    st.sampled_from(["X-Goog-Signature=ab%2Fcd%3D&Expires=3600", "a=%2e%2e%2f"]),
).map(lambda query: query and f"?{query}")
delivery_urls = st.builds("https://{}/{}{}".format, hosts, paths, queries)
api_urls = st.builds("https://api.replicate.com/v1/{}{}".format, paths, queries)


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


HOSTILE = [
    "",
    "/",
    "replicate.delivery",
    "replicate.delivery/",
    "/replicate.delivery/x",
    "replicate.delivery//x",
    "replicate.delivery/a//b",
    "replicate.delivery/../x",
    "replicate.delivery/a/..",
    "replicate.delivery/./x",
    "replicate.delivery/%2e%2e/x",
    "replicate.delivery/.%2E/x",
    "replicate.delivery/a%2Fb",
    "replicate.delivery/a%5cb",
    "replicate.delivery/a\\b",
    "replicate.delivery\\x",
    "replicate.delivery/a\nb",
    "replicate.delivery/a b",
    "replicate.delivery/a\x00",
    "replicate.delivery/a%0d%0aHost:evil",
    "replicate.delivery/caf\u00e9",
    "replicate.delivery/a#b",
    "replicate.delivery/a?b",
    "replicate.delivery/a%",
    "replicate.delivery/a%g0",
    "REPLICATE.delivery/x",
    "replicate.delivery./x",
    "replicate.delivery:443/x",
    "replicate.delivery:0443/x",
    "replicate.delivery:/x",
    "replicate.delivery:99999/x",
    "user@replicate.delivery/x",
    "replicate.delivery%2fx/y",
    "evil.example/x",
    "evil.example%00.replicate.delivery/x",
    "evil.example#.replicate.delivery/x",
    "evil.example\\.replicate.delivery/x",
    "evil.example?.replicate.delivery/x",
    "-.replicate.delivery/x",
    "..replicate.delivery/x",
    "a..replicate.delivery/x",
    "xreplicate.delivery/x",
    "127.0.0.1/x",
    "[::1]/x",
    "localhost/x",
    "a" * 300 + ".replicate.delivery/x",
    "replicate.delivery/" + "a" * 9000,
]


@pytest.mark.parametrize("raw_path", HOSTILE)
def test_hostile_delivery_paths_are_refused(raw_path: str) -> None:
    with pytest.raises(UnsafePath):
        URLS.delivery_from_path(raw_path)
    if raw_path:
        assert isinstance(
            URLS.from_client(f"{GATEWAY}/replicate/delivery/{raw_path}", OWN),
            GatewayUnusable | GatewayDelivery,
        )


@pytest.mark.parametrize("query", ["a b", "a#b", "a\n", "a%", "\u00e9", "a\\b", "a" * 9000])
def test_hostile_delivery_queries_are_refused(query: str) -> None:
    with pytest.raises(UnsafePath):
        URLS.delivery_from_path("replicate.delivery/x", query)


@settings(max_examples=500)
@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(
            r"[a-z.:@%\\/0-9]{0,20}replicate\.delivery[a-z.:@%\\/0-9?#]{0,30}", fullmatch=True
        ),
        st.sampled_from(HOSTILE).flatmap(lambda p: st.text(max_size=5).map(lambda t: p + t)),
    ),
    st.text("a=&%2f#? ", max_size=10),
)
def test_a_delivery_path_never_leads_to_another_host(raw_path: str, raw_query: str) -> None:
    try:
        url = URLS.delivery_from_path(raw_path, raw_query)
    except UnsafePath:
        return
    parts = urlsplit(url)
    assert parts.scheme == "https"
    assert re.fullmatch(r"(?:[a-z0-9_-]+\.)*replicate\.delivery", parts.netloc)
    assert URLS.delivery_to_client(url, "") == f"/replicate/delivery/{raw_path}" + (
        f"?{raw_query}" if raw_query else ""
    )


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (
            f"{GATEWAY}/replicate/v1/files/F1",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            f"{GATEWAY}/replicate/v1/v1/files/F1",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            f"{GATEWAY}/replicate/files/F1/",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            "HTTPS://GW.example.org.:443/replicate/v1/files/F1",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            "http://localhost:8080/replicate/files/F1#x",
            GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1"),
        ),
        (
            f"{GATEWAY}/replicate/v1/predictions/p1",
            GatewayApi("https://api.replicate.com/v1/predictions/p1"),
        ),
        (
            f"{GATEWAY}/replicate/models?cursor=x",
            GatewayApi("https://api.replicate.com/v1/models?cursor=x"),
        ),
        (
            "HTTPS://GW.example.org:443/replicate/delivery/replicate.delivery/a.png#f",
            GatewayDelivery("https://replicate.delivery/a.png"),
        ),
        (
            f"{GATEWAY}/replicate/delivery/replicate.delivery/caf\u00e9.png?a=b",
            GatewayDelivery("https://replicate.delivery/caf%C3%A9.png?a=b"),
        ),
        *(
            (f"{GATEWAY}{path}", GatewayDelivery("https://replicate.delivery/a.png"))
            for path in (
                "/replicate//delivery/replicate.delivery/a.png",
                "//replicate/delivery//replicate.delivery/a.png",
            )
        ),
        *(
            (
                f"{GATEWAY}{path}",
                GatewayUnusable("it is not the address of an output file of this gateway"),
            )
            for path in (
                "/replicate/delivery",
                "/replicate/%64elivery/replicate.delivery/a.png",
                "/replicate//delivery/replicate.delivery//a.png",
            )
        ),
        (f"{GATEWAY}/dashboard", None),
        (f"{GATEWAY}/", None),
        (GATEWAY, None),
        ("http://gw.example.org/replicate/v1/files/F1", None),
        ("http://localhost/replicate/v1/files/F1", None),
        ("https://gw.example.org.evil.example/replicate/v1/files/F1", None),
        ("https://replicate.delivery/a.png", None),
        ("a prompt", None),
        ("", None),
        ("data:image/png;base64,AAAA", None),
    ],
)
def test_what_a_client_side_url_stands_for(url: str, target: object) -> None:
    assert URLS.from_client(url, OWN) == target


@pytest.mark.parametrize(
    "url",
    [
        "https://api.replicate.com/v1/files/F1",
        "https://api.replicate.com/v1/files/F1?x=y",
        "http://api.replicate.com/v1/files/F1",
        "https://api.replicate.com:443/v1/files/F1",
        "https://API.Replicate.com./v1/files/F1/",
        "https://x:y@api.replicate.com/v1/files/F1",
        " https://api.replicate.com/v1/files/F1\n",
        "https://api.replicate.com//v1//files//F1",
        "https://api.replicate.com/v1/x/../files/F1",
        "https://api.replicate.com/v1/./files/F1",
        "https://api.replicate.com/v1/%66iles/F%31",
        "https://api.replicate.com/v1%2ffiles%2fF1",
        "https://api.replicate.com/v1/%2566iles/F1",
        "https:\\\\api.replicate.com\\v1\\files\\F1",
        "https://api.replicate.com/v1/fi\tles/F1",
        "https:api.replicate.com/v1/files/F1",
        "https://%61pi.replicate.com/v1/files/F1",
        "https://\uff41pi.replicate.com/v1/files/F1",
        "https://api.replicate.com/v1/v1/files/F1",
    ],
)
def test_no_spelling_hides_an_uploaded_file(url: str) -> None:
    assert URLS.upstream_file(url) == GatewayApiFile("F1", "https://api.replicate.com/v1/files/F1")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.replicate.com/v1/predictions/x",
        "https://api.replicate.com/v1/files",
        "https://api.replicate.com/files/F1",
        "https://example.org/v1/files/F1",
        "https://api.replicate.com.evil.example/v1/files/F1",
        "https://api.replicate.com:8443/v1/files/F1",
        "the file https://api.replicate.com/v1/files/F1",
    ],
)
def test_other_urls_are_no_uploaded_files(url: str) -> None:
    assert URLS.upstream_file(url) is None


def test_an_uploaded_file_with_a_signed_download_keeps_its_signature() -> None:
    url = "https://api.replicate.com/v1/files/F1/download?expiry=1&owner=o&signature=s%3D"
    assert URLS.upstream_file(url) == GatewayApiFile("F1", url)
    assert isinstance(
        URLS.upstream_file("https://api.replicate.com/v1/files/F1/x/y"), GatewayUnusable
    )


@given(st.text())
def test_no_text_breaks_the_reading_of_client_urls(text: str) -> None:
    for url in (text, f"https://{text}", f"{GATEWAY}/{text}", f"{GATEWAY}/replicate/{text}"):
        URLS.from_client(url, OWN)
        URLS.upstream_file(url)
        origin_of(url)
        canonical_origin(url)


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
