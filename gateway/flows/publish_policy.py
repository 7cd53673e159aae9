"""Publish what the configuration says about users to every worker, and put that on record."""

from collections.abc import Mapping

from gateway.domain.plans import Policy
from gateway.flows.administer import Actor
from gateway.ledger import Connection, audit, published


def publish_policy(conn: Connection, policy: Policy, now: float, actor: Actor) -> bool:
    """Publish plans, teams, prices and the contact; returns whether they say anything new.

    If they do, the audit log names what is new, without its contents: a team's webhook is a secret.
    """
    _, known = published.published(conn)
    text = policy.to_json()
    if known == text:
        return False
    published.publish(conn, text, now)
    news = _news(None if known is None else _read(known), policy)
    audit.add(conn, now, actor.name, "config.publish", "configuration", news, source=actor.source)
    return True


def _read(text: str) -> Policy | None:
    try:
        return Policy.from_json(text)
    except ValueError:  # written by another version
        return None


def _news(before: Policy | None, after: Policy) -> dict[str, object]:
    prices = {price.pattern: price for price in after.prices}
    known = {} if before is None else {price.pattern: price for price in before.prices}
    news: dict[str, object] = {
        "plans": _changed({} if before is None else before.plans, after.plans),
        "teams": _changed({} if before is None else before.teams, after.teams),
        "prices": _changed(known, prices),
    }
    if before is None or before.contact != after.contact:
        news["contact"] = after.contact
    return {noun: value for noun, value in news.items() if value}


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    names = {*before, *after}
    return sorted(name for name in names if before.get(name) != after.get(name))
