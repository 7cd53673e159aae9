import hashlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.keys import (
    KEY_SECRET_BYTES,
    address_holds_key,
    digest,
    field_with_key,
    hint,
    key_from_authorization,
    make_key,
    mask,
    well_formed,
)

SECRETS = st.binary(min_size=KEY_SECRET_BYTES, max_size=KEY_SECRET_BYTES)
KEY = make_key(bytes(range(KEY_SECRET_BYTES)))


@given(SECRETS)
def test_every_made_key_is_well_formed_and_of_one_length(secret: bytes) -> None:
    key = make_key(secret)
    assert well_formed(key)
    assert len(key) == 46
    assert key.startswith("hk-")
    assert key.isascii()
    assert key[3:].isalnum()


@given(SECRETS, SECRETS)
def test_different_secrets_make_different_keys(one: bytes, other: bytes) -> None:
    assert (make_key(one) == make_key(other)) == (one == other)


@given(SECRETS, st.integers(3, 45), st.sampled_from("0Aaz"))
def test_a_mistyped_character_is_noticed(secret: bytes, place: int, char: str) -> None:
    key = make_key(secret)
    changed = f"{key[:place]}{char}{key[place + 1 :]}"
    assert well_formed(changed) == (changed == key)


@pytest.mark.parametrize("text", ["", "hk-", KEY[:-1], KEY + "a", f" {KEY}", KEY + "\n", KEY[3:]])
def test_what_is_not_quite_a_key_is_not_well_formed(text: str) -> None:
    assert not well_formed(text)


def test_a_key_needs_enough_randomness() -> None:
    with pytest.raises(ValueError, match="random bytes"):
        make_key(b"short")


def test_only_a_digest_is_kept_of_a_key() -> None:
    assert digest(KEY) == hashlib.sha256(KEY.encode()).hexdigest()


def test_the_hint_shows_little_of_the_key() -> None:
    assert KEY.startswith(hint(KEY).rstrip("…"))
    assert len(hint(KEY)) == 8


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token", "TOKEN"])
def test_both_schemes_are_understood_in_any_case(scheme: str) -> None:
    assert key_from_authorization(f"{scheme} {KEY}") == KEY
    assert key_from_authorization(f"  {scheme}   {KEY} ") == KEY


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", KEY, f"Basic {KEY}", f"Bearer {KEY} x", "Bearer é"]
)
def test_other_headers_carry_no_key(header: str | None) -> None:
    assert key_from_authorization(header) is None


@given(SECRETS, st.text(max_size=10), st.text(max_size=10))
def test_no_key_survives_masking(secret: bytes, before: str, after: str) -> None:
    key = make_key(secret)
    masked = mask(f"{before}{key}{after}")
    assert key[3:20] not in masked
    assert "hk-***" in masked


def test_tokens_and_signing_secrets_are_masked_too() -> None:
    text = "r8_abcdefghijkl then whsec_QUJD/+x= end"
    assert mask(text) == "r8_*** then whsec_*** end"
    assert mask("thank-you notes") == "thank-you notes"


@given(SECRETS, st.text(max_size=10), st.text(max_size=10), st.integers(0, 2))
def test_a_key_is_seen_in_an_address_whatever_stands_around_it(
    secret: bytes, before: str, after: str, codings: int
) -> None:
    text = f"{before}{make_key(secret)}{after}"
    # As it is, text may hold percent signs that mean nothing; encoded they are text again.
    for _ in range(codings):
        text = quote(text, safe="")
    assert address_holds_key(text)


def test_a_mistyped_key_is_seen_where_it_stands_by_itself() -> None:
    wrong = KEY[:-1] + ("a" if KEY[-1] != "a" else "b")
    for text in (wrong, f"/v1/{wrong}/x", f"?key={wrong}&x", f"(hk%2D{wrong[3:]})"):
        assert address_holds_key(text)
    # Signatures and files' names have any characters, and could have these.
    for text in (f"?signature=a_{wrong}", f"?signature={wrong}9x-", f"/xezq/hk-{'0a' * 32}.png"):
        assert not address_holds_key(text)


@pytest.mark.parametrize("text", ["", "thank-you", f"hk-{'a' * 42}", "hk-", "%68k", "100%", "%ff%"])
def test_other_addresses_hold_none(text: str) -> None:
    assert not address_holds_key(text)


@given(SECRETS, st.recursive(st.text(), st.lists, max_leaves=5))
def test_the_field_with_a_key_is_named(secret: bytes, other: object) -> None:
    key = make_key(secret)
    assert field_with_key({"input": {"x": other}}) is None
    assert field_with_key({"a": other, "input": {"x": [other, f"({key})"]}}) == "input.x.1"
    assert field_with_key({"input": {key: other}}) == "input"
