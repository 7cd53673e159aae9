"""What of a create's input counts when a lost one is looked for."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from gateway.domain.input_digest import input_digest, input_outline

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "data", "htt:x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=8,
)


def body(given_input: object) -> bytes:
    return json.dumps({"version": "v", "input": given_input}).encode()


@given(PLAIN, PLAIN)
def test_without_addresses_two_outlines_are_equal_exactly_if_the_digests_are(
    one: object, other: object
) -> None:
    first, second = body(one), body(other)
    same = input_digest(first) == input_digest(second)
    assert (input_outline(first) == input_outline(second)) is same


@pytest.mark.parametrize(
    "shown",
    [
        "https://api.replicate.com/v1/files/f1",
        "https://replicate.delivery/xezq/1/in.png",
        "HTTPS://replicate.delivery/pbxt/1/in.png",
        "data:image/png;base64,AAAA",
    ],
)
def test_an_address_in_the_place_of_another_changes_the_digest_and_not_the_outline(
    shown: str,
) -> None:
    sent = body({"prompt": "a cat", "images": [{"of": "data:image/png;base64,QUJD"}]})
    echo = body({"images": [{"of": shown}], "prompt": "a cat"})
    assert input_digest(sent) != input_digest(echo)
    assert input_outline(sent) == input_outline(echo)


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a dog", "image": "https://x.test/1"},
        {"prompt": "a cat", "image": "a picture"},
        {"prompt": "a cat", "images": "https://x.test/1"},
        {"prompt": "a cat"},
    ],
)
def test_whatever_else_differs_is_another_outline(other: object) -> None:
    sent = body({"prompt": "a cat", "image": "data:,x"})
    assert input_outline(sent) != input_outline(body(other))


def test_a_document_without_an_input_has_neither() -> None:
    assert input_digest(b"{}") == input_outline(b"{}") == ""
