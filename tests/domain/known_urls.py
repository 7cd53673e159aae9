"""Origins, and URLs that they could have, for the tests of both directions."""

from hypothesis import strategies as st

from gateway.domain.urls import (
    StreamTokens,
    UpstreamOrigins,
    UrlMap,
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
