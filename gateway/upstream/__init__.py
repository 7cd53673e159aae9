"""The only room that speaks HTTP as a client: to Replicate, and to users' webhooks."""

from gateway.upstream.allowance import Allowance
from gateway.upstream.answers import Answer as UpstreamAnswer
from gateway.upstream.answers import StreamedAnswer
from gateway.upstream.client import Turn, Upstream
from gateway.upstream.download import Downloads
from gateway.upstream.errors import (
    AllowanceExhausted,
    StreamRefused,
    UpstreamBroken,
    UpstreamError,
    UpstreamGarbage,
    UpstreamTimeout,
    UpstreamTokenRefused,
    UpstreamUnreachable,
)
from gateway.upstream.hooks import Hooks
from gateway.upstream.line import Urgency
from gateway.upstream.operations import (
    OPERATIONS,
    Access,
    AnswerKind,
    BodyKind,
    Match,
    MethodNotAllowed,
    Operation,
    match,
)
from gateway.upstream.streams import Streams
from gateway.upstream.webhook_sender import Delivered, Failed, WebhookSender

__all__ = [
    "OPERATIONS",
    "Access",
    "Allowance",
    "AllowanceExhausted",
    "AnswerKind",
    "BodyKind",
    "Delivered",
    "Downloads",
    "Failed",
    "Hooks",
    "Match",
    "MethodNotAllowed",
    "Operation",
    "StreamRefused",
    "StreamedAnswer",
    "Streams",
    "Turn",
    "Upstream",
    "UpstreamAnswer",
    "UpstreamBroken",
    "UpstreamError",
    "UpstreamGarbage",
    "UpstreamTimeout",
    "UpstreamTokenRefused",
    "UpstreamUnreachable",
    "Urgency",
    "WebhookSender",
    "match",
]
