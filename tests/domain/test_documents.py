"""Documents as clients see them."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.documents import (
    InvalidJson,
    View,
    client_file,
    client_list,
    client_next_links,
    client_prediction,
    echo_key,
    list_document,
    output_urls,
    rewrite_output_urls,
)
from gateway.domain.inputs import input_gateway_urls, substitute
from gateway.domain.origins import UpstreamOrigins, parse_origin_pattern
from gateway.domain.urls import GatewayDelivery, GatewayUnusable, StreamTokens, UrlMap

API = "https://api.replicate.com"
ORIGIN = "https://gw.example.org"
TOKENS = StreamTokens(b"s" * 32)
URLS = UrlMap(
    UpstreamOrigins(
        "https://api.replicate.com",
        (
            parse_origin_pattern("https://replicate.delivery"),
            parse_origin_pattern("https://*.replicate.delivery"),
        ),
        (parse_origin_pattern("https://*.replicate.com"),),
    ),
    TOKENS,
)
VIEW = View(ORIGIN, "p1")
FILE = "https://replicate.delivery/xezq/out.png"
SHOWN = f"{ORIGIN}/replicate/delivery/replicate.delivery/xezq/out.png"
STREAM = "https://stream.replicate.com/v1/files/bcwr-secret"

PREDICTION = (
    b'{ "id":"p1","model":"m/n", "version" : "hidden","input":{"prompt":"a cat \\u2192 '
    b'https://replicate.delivery/in.png","image":"https://replicate.delivery/in.png"},\n'
    b'"logs":"https://replicate.delivery/xezq/out.png","error":"https://replicate.delivery/e.png",'
    b'"output":["https://replicate.delivery/xezq/out.png",{"k":"https:\\/\\/pb.replicate.delivery'
    b'\\u002fa.png","t":"text https://replicate.delivery/xezq/out.png","n":1.50}],'
    b'"urls":{"cancel":"https://api.replicate.com/v1/predictions/p1/cancel",'
    b'"get":"https://api.replicate.com/v1/predictions/p1","stream":'
    b'"https://stream.replicate.com/v1/files/bcwr-secret","web":"https://replicate.com/p/p1"},'
    b'"metrics":{"predict_time":1.0e0},"status":"succeeded","cover":'
    b'"https://replicate.delivery/xezq/out.png"}\n'
)


def test_a_prediction_is_rewritten_in_its_places_and_stays_byte_for_byte_elsewhere() -> None:
    token = TOKENS.seal("p1", STREAM)
    expected = (
        PREDICTION.replace(
            b'"output":["https://replicate.delivery/xezq/out.png"', f'"output":["{SHOWN}"'.encode()
        )
        .replace(
            b'"https:\\/\\/pb.replicate.delivery\\u002fa.png"',
            f'"{ORIGIN}/replicate/delivery/pb.replicate.delivery/a.png"'.encode(),
        )
        .replace(b"https://api.replicate.com/", f"{ORIGIN}/replicate/".encode())
        .replace(STREAM.encode(), f"{ORIGIN}/v1/files/{token}".encode())
    )
    assert client_prediction(PREDICTION, URLS, VIEW).body == expected


@pytest.mark.parametrize("output", [None, FILE, [FILE], {"a": [{"b": FILE}]}, 3, "text", [["x"]]])
def test_output_urls_are_found_wherever_they_stand(output: object) -> None:
    body = json.dumps({"id": "p1", "input": {"image": FILE}, "logs": FILE, "output": output})
    expected = (FILE,) if FILE in json.dumps(output) else ()
    assert output_urls(body.encode(), URLS) == expected
    shown = json.loads(client_prediction(body.encode(), URLS, VIEW).body)
    assert shown["output"] == json.loads(json.dumps(output).replace(FILE, SHOWN))
    assert shown["input"] == {"image": FILE}


def test_output_urls_are_in_order_and_each_named_once() -> None:
    other = "https://pb.replicate.delivery/b.png"
    body = json.dumps({"output": [other, FILE, other, "https://example.org/x.png"]}).encode()
    assert output_urls(body, URLS) == (other, FILE)


def test_the_name_of_an_output_file_is_the_one_that_its_client_url_leads_to() -> None:
    body = json.dumps({"output": "https://replicate.delivery/caf\u00e9.png"}).encode()
    (name,) = output_urls(body, URLS)
    shown = json.loads(client_prediction(body, URLS, VIEW).body)["output"]
    assert URLS.from_client(shown, [ORIGIN]) == GatewayDelivery(name)


def test_a_stream_of_an_unknown_origin_is_left_out_and_only_its_origin_reported() -> None:
    body = (
        b'{"urls":{"get":"https://api.replicate.com/v1/predictions/p1",'
        b' "stream":"https://evil.example/v1/files/secret" , "web":"w"}}'
    )
    shown = client_prediction(body, URLS, VIEW)
    assert shown.body == (
        f'{{"urls":{{"get":"{ORIGIN}/replicate/v1/predictions/p1", "web":"w"}}}}'.encode()
    )
    assert shown.dropped_stream == "https://evil.example"
    only = client_prediction(b'{"urls":{"stream":"https://evil.example/x"}}', URLS, VIEW)
    assert only.body == b'{"urls":{}}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"p1"}',
        b'{"id":"p1","output":null,"logs":null,"urls":null,"input":null}',
        b'{"urls":{"stream":null,"get":3},"output":{},"input":[]}',
        b'{"urls":[],"output":"","metrics":[]}',
        b"{}",
    ],
)
def test_missing_and_odd_members_are_left_alone(body: bytes) -> None:
    assert client_prediction(body, URLS, VIEW).body == body
    assert output_urls(body, URLS) == ()
    assert client_file(body, URLS, ORIGIN) == body


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html>", b'{"a":', b'{"a":\xff}'])
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    for read in (
        lambda: client_prediction(body, URLS, VIEW),
        lambda: client_list(body, URLS, ORIGIN, lambda _: VIEW),
        lambda: client_file(body, URLS, ORIGIN),
        lambda: output_urls(body, URLS),
    ):
        with pytest.raises(InvalidJson):
            read()


def test_input_reads_as_the_caller_wrote_it() -> None:
    upload = "https://api.replicate.com/v1/files/F1"
    body = json.dumps(
        {"input": {"image": upload, "other": [FILE, FILE], "prompt": f"see {upload}"}}
    ).encode()
    view = View(
        ORIGIN,
        "p1",
        {upload: f"{ORIGIN}/replicate/v1/files/F1", echo_key("input.other.1", FILE): SHOWN},
    )
    assert json.loads(client_prediction(body, URLS, view).body)["input"] == {
        "image": f"{ORIGIN}/replicate/v1/files/F1",
        "other": [FILE, SHOWN],
        "prompt": f"see {upload}",
    }


def test_the_webhook_is_put_back() -> None:
    view = View(ORIGIN, "p1", {}, "https://u.example/hook", ("completed",))
    assert client_prediction(b'{"id":"p1","webhook":null}', URLS, view).body == (
        b'{"id":"p1","webhook":"https://u.example/hook","webhook_events_filter":["completed"]}'
    )
    unfiltered = View(ORIGIN, "p1", {}, "https://u.example/hook", None)
    assert client_prediction(b'{"id":"p1"}', URLS, unfiltered).body == (
        b'{"id":"p1","webhook":"https://u.example/hook"}'
    )


def test_aborted_is_told_in_the_word_that_the_client_knows() -> None:
    body = b'{"id":"p1", "status" : "aborted", "output":"aborted"}'
    assert client_prediction(body, URLS, VIEW).body == body
    canceled = View(ORIGIN, "p1", aborted_as="canceled")
    assert client_prediction(body, URLS, canceled).body == (
        b'{"id":"p1", "status" : "canceled", "output":"aborted"}'
    )


def test_a_list_shows_every_item_by_its_own_view() -> None:
    item = '{"id":"%s","output":"' + FILE + '","urls":{"stream":"https://evil.example/x"}}'
    body = (
        '{"previous":null,"next":"http://api.replicate.com/v1/predictions?cursor=c","results":[ '
        + item % "p1"
        + " , "
        + item % "p2"
        + ", 3 ]}"
    )
    asked: list[str] = []

    def view_for(prediction_id: str) -> View:
        asked.append(prediction_id)
        return View(f"https://{prediction_id}.example", prediction_id)

    shown = client_list(body.encode(), URLS, ORIGIN, view_for)
    page = json.loads(shown.body)
    assert asked == ["p1", "p2"]
    assert page["next"] == f"{ORIGIN}/replicate/v1/predictions?cursor=c"
    assert page["previous"] is None
    assert page["results"][2] == 3
    assert [item["output"].partition("/replicate")[0] for item in page["results"][:2]] == [
        "https://p1.example",
        "https://p2.example",
    ]
    assert shown.dropped_streams == ("https://evil.example",) * 2


def test_a_page_made_here_reads_like_upstreams() -> None:
    page = list_document("https://gw.example/n", None, [b'{"id":"p1"}', b'{"id":"p2"}'])
    assert json.loads(page) == {
        "previous": None,
        "next": "https://gw.example/n",
        "results": [{"id": "p1"}, {"id": "p2"}],
    }
    assert json.loads(list_document(None, None, []))["results"] == []


def test_other_lists_have_their_links_rewritten_and_nothing_else() -> None:
    body = (
        b'{"next": "https://api.replicate.com/v1/models?cursor=c","results":[{"cover_image_url":'
        b'"https://replicate.delivery/c.png","next":"https://api.replicate.com/v1/x"}],'
        b'"previous":"https://example.org/v1/models"}'
    )
    shown = client_next_links(body, URLS, ORIGIN)
    first, rest = body.split(b",", 1)
    assert shown == first.replace(b"https://api.replicate.com", f"{ORIGIN}/replicate".encode()) + (
        b"," + rest
    )
    for other in (b"[]", b'{"a":"https://api.replicate.com/v1/x"}', b"3"):
        assert client_next_links(other, URLS, ORIGIN) == other
    with pytest.raises(InvalidJson):
        client_next_links(b"# readme", URLS, ORIGIN)


def test_files_alone_and_in_lists_have_their_address_rewritten() -> None:
    file = '{"id":"F1","name":"x","urls":{"get":"https://api.replicate.com/v1/files/F1"}}'
    shown = file.replace("https://api.replicate.com", f"{ORIGIN}/replicate")
    assert client_file(file.encode(), URLS, ORIGIN) == shown.encode()
    page = '{"next":"https://api.replicate.com/v1/files?c=1","results":[%s, %s]}'
    assert (
        client_file((page % (file, file)).encode(), URLS, ORIGIN)
        == (
            page.replace("https://api.replicate.com", f"{ORIGIN}/replicate") % (shown, shown)
        ).encode()
    )


def test_big_outputs_pass_untouched() -> None:
    data = "data:image/png;base64," + "A" * 3_000_000
    body = json.dumps({"id": "p1", "output": [data, FILE], "input": {"image": data}}).encode()
    shown = client_prediction(body, URLS, VIEW).body
    assert shown == body.replace(FILE.encode(), SHOWN.encode())


urls_or_text = st.one_of(
    st.text("abcXYZ-_.~!$()*+,;=:@019", min_size=1, max_size=10)
    .filter(lambda step: step not in (".", ".."))
    .map("https://pb.replicate.delivery/x/{}".format),
    st.just(FILE + "?sig=a%2Fb&e=1"),
    st.text(max_size=8),
    st.sampled_from(["https://example.org/a.png", "data:,x", '\\/"[]{},:', "see " + FILE]),
)
values = st.recursive(
    urls_or_text | st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
predictions = st.fixed_dictionaries(
    {"id": st.just("p1")},
    optional={
        "output": values,
        "logs": urls_or_text,
        "input": values,
        "extra": values,
        "urls": st.fixed_dictionaries(
            {},
            optional={
                "get": st.just("https://api.replicate.com/v1/predictions/p1"),
                "stream": st.just(STREAM),
                "web": st.just("https://replicate.com/p/p1"),
            },
        ),
    },
)
layouts = st.sampled_from([{"separators": (",", ":")}, {"indent": 1}, {"ensure_ascii": False}])


def as_input(document: bytes) -> bytes:
    """A create's body whose input is this document, as a client hands on what it was answered."""
    return b'{"version":"v","input":' + document + b',"stream":true}'


def turned_back(body: bytes) -> bytes:
    """What upstream gets for a create's body, while every address in it is still alive."""
    found = input_gateway_urls(body, URLS, [ORIGIN])
    assert not [url for url in found if isinstance(url.target, GatewayUnusable)]
    return substitute(
        body,
        [
            (url, url.target.upstream_url)
            for url in found
            if not isinstance(url.target, GatewayUnusable)
        ],
    )


@given(predictions, layouts)
def test_rewriting_and_turning_back_gives_the_same_bytes(
    document: dict[str, object], layout: dict[str, object]
) -> None:
    body = json.dumps(document, **layout).encode()  # type: ignore[arg-type]  # layouts vary
    shown = client_prediction(body, URLS, VIEW).body
    # Streams are no inputs: what upstream's address is, the ledger says by what stands in ours.
    ours = URLS.stream_to_client(STREAM, "p1", ORIGIN) or ""
    assert TOKENS.read("files", ours.rpartition("/")[2]) == "p1"
    expected = as_input(body)
    if "stream" in document.get("urls", {}):  # type: ignore[operator]  # it is a dictionary
        assert shown.count(json.dumps(ours).encode()) == 1
        expected = expected.replace(json.dumps(STREAM).encode(), json.dumps(ours).encode())
    assert turned_back(as_input(shown)) == expected


@given(values, layouts, st.sampled_from(["file", "list"]))
def test_so_it_does_with_files_and_lists(
    value: object, layout: dict[str, object], kind: str
) -> None:
    file = {"id": "F1", "metadata": value, "urls": {"get": f"{API}/v1/files/F1"}}
    page = {"next": f"{API}/v1/files?cursor=a%3D", "previous": None, "results": [file, file]}
    document = file if kind == "file" else page
    body = json.dumps(document, **layout).encode()  # type: ignore[arg-type]  # layouts vary
    shown = client_file(body, URLS, ORIGIN)
    assert shown != body
    assert turned_back(as_input(shown)) == as_input(body)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


@given(values)
def test_no_known_output_url_is_left_in_an_output(value: object) -> None:
    body = json.dumps({"output": value}).encode()
    shown = json.loads(client_prediction(body, URLS, VIEW).body)["output"]
    assert not [text for text in strings(shown) if URLS.delivery(text)]
    upstream = [file.url for text in strings(value) if (file := URLS.delivery(text))]
    assert output_urls(body, URLS) == tuple(dict.fromkeys(upstream))
    assert json.loads(rewrite_output_urls(json.dumps(value).encode(), URLS, ORIGIN)) == shown


def test_no_upstream_host_is_left_in_what_clients_follow() -> None:
    shown = json.loads(client_prediction(PREDICTION, URLS, VIEW).body)
    followed = json.dumps([shown["output"][0], shown["urls"]])
    assert re.findall(r"https://[a-z.]*replicate\.[a-z]+", followed) == ["https://replicate.com"]
