import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replicate.webhook import (
    InvalidSignatureError,
    Webhooks,
    WebhookSigningSecret,
)

from gateway.domain.webhooks import TOLERANCE_S, headers, new_secret, sign, verify

SECRETS = st.binary(min_size=24, max_size=64).map(new_secret)
IDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=30)
BODIES = st.text(min_size=1, max_size=200).map(str.encode)
SECRET = new_secret(bytes(range(32)))


@given(SECRETS, IDS, st.integers(0, 10**10), BODIES)
def test_the_official_client_accepts_our_signatures(
    secret: str, message_id: str, timestamp: int, body: bytes
) -> None:
    Webhooks.validate(
        headers=dict(headers(secret, message_id, timestamp, body)),
        body=body.decode(),
        secret=WebhookSigningSecret(key=secret),
    )


def test_the_official_client_refuses_a_changed_body() -> None:
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(
            headers=dict(headers(SECRET, "msg_1", 1000, b"one")),
            body="other",
            secret=WebhookSigningSecret(key=SECRET),
        )


def test_the_published_example_of_the_scheme_is_reproduced() -> None:
    # The worked example of the Standard Webhooks specification.
    signature = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(SECRETS)
def test_a_secret_splits_into_two_parts_and_is_standard_base64(secret: str) -> None:
    prefix, encoded = secret.split("_")
    assert prefix == "whsec"
    assert len(base64.b64decode(encoded, validate=True)) >= 24


@given(IDS, st.integers(0, 10**10), BODIES, st.integers(-TOLERANCE_S, TOLERANCE_S))
def test_our_own_check_accepts_what_we_sign_while_it_is_fresh(
    message_id: str, timestamp: int, body: bytes, age: int
) -> None:
    signatures = "v1,AAAA " + sign(SECRET, message_id, timestamp, body)
    assert verify(SECRET, message_id, str(timestamp), signatures, body, timestamp + age)


def test_our_own_check_refuses_the_stale_the_changed_and_the_senseless() -> None:
    good = sign(SECRET, "m", 1000, b"{}")
    assert verify(SECRET, "m", "1000", good, b"{}", 1000)
    assert not verify(SECRET, "m", "1000", good, b"{}", 1001 + TOLERANCE_S)
    assert not verify(SECRET, "other", "1000", good, b"{}", 1000)
    assert not verify(SECRET, "m", "1000", good, b"[]", 1000)
    assert not verify(new_secret(bytes(32)), "m", "1000", good, b"{}", 1000)
    assert not verify(SECRET, "m", "1000", "", b"{}", 1000)
    assert not verify(SECRET, "m", "1000", "v1,é", b"{}", 1000)
    assert not verify(SECRET, "m", "10e2", good, b"{}", 1000)
    assert not verify(SECRET, "m", "", good, b"{}", 1000)


@pytest.mark.parametrize("secret", ["", "abc", "whsec_!!", "WHSEC_AAAA", "whsec_a-_b"])
def test_what_is_not_a_signing_secret_signs_nothing(secret: str) -> None:
    with pytest.raises(ValueError, match="signing secret"):
        sign(secret, "m", 1, b"")


def test_a_signing_secret_needs_enough_randomness() -> None:
    with pytest.raises(ValueError, match="random bytes"):
        new_secret(b"short")
