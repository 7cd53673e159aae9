"""Faults between keys: values that are right alone and wrong together."""

from collections.abc import Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.domain.origins import parse_origin_pattern, refuse_ambiguous
from gateway.settings.environment import Raw
from gateway.settings.faults import Fault, did_you_mean, key_path, mask_url, shown_value
from gateway.settings.fields import TypeForm, bare, element, named_tables, table
from gateway.settings.model import Server, Settings, Team, Tls, Upstream, Webhooks

# A section's table, or the tables of its names; what could not be read alone is missing.
Sections = Mapping[str, BaseModel | Mapping[str, BaseModel]]


def cross_faults(sections: Sections, plans: frozenset[str]) -> Iterator[Fault]:
    """Find what does not fit together. ``plans`` are the names of all plans, faulty ones too."""
    server, upstream = sections.get("server"), sections.get("upstream")
    if isinstance(server, Server):
        yield from _ports(server)
        yield from _tls(server.tls)
        if isinstance(upstream, Upstream):
            yield from _loop(server, upstream)
    if isinstance(upstream, Upstream):
        yield from _ambiguous(upstream)
    teams, webhooks = sections.get("teams"), sections.get("webhooks")
    for name, team in teams.items() if isinstance(teams, Mapping) else ():
        if isinstance(team, Team):
            yield from _team_plan(name, team, plans | {"default"})
            if isinstance(webhooks, Webhooks):
                yield from _team_webhook(name, team, webhooks)


def mistyped(tree: Mapping[str, Raw]) -> Iterator[tuple[tuple[str | int, ...], Fault]]:
    """Find values of the file that pydantic would read as what they are not.

    Numbers of money may come as texts from the environment, which knows nothing else; in the file
    a text is a mistake. Dates are no texts. With each fault comes the place where it stands.
    """
    for name, info in Settings.model_fields.items():
        yield from _mistyped(info.annotation, info, tree.get(name), (name,))


def _mistyped(
    form: TypeForm, info: FieldInfo, raw: object, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Fault]]:
    single, each, item = table(form), named_tables(form), element(form)
    if isinstance(raw, dict):
        for key, value in raw.items():
            if each is not None:
                yield from _mistyped(each, info, value, (*path, key))
            elif single is not None and key in single.model_fields:
                field = single.model_fields[key]
                yield from _mistyped(field.annotation, field, value, (*path, key))
    elif isinstance(raw, list) and item is not None:
        for index, value in enumerate(raw):
            yield from _mistyped(item, info, value, (*path, index))
    elif problem := _wrong_kind(form, raw):
        yield path, Fault(key_path(str(path[0]), *path[1:]), shown_value(raw, info), problem)


def _wrong_kind(form: TypeForm, raw: object) -> str:
    if bare(form) is Decimal and isinstance(raw, str):
        return "must be a number, without quotes"
    return "must be a text in quotes" if isinstance(raw, date | time) else ""


def _ports(server: Server) -> Iterator[Fault]:
    if server.metrics_port and server.metrics_port == server.port:
        yield Fault(
            "server.metrics_port",
            str(server.metrics_port),
            "must differ from server.port, which serves clients",
        )


def _tls(tls: Tls) -> Iterator[Fault]:
    if tls.mode != "files":
        return
    for key, path in (("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        if not path:
            yield Fault(f"server.tls.{key}", '""', 'must name a PEM file with mode = "files"')
            continue
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            yield Fault(f"server.tls.{key}", f'"{path}"', f"cannot be read: {reason}")


def _loop(server: Server, upstream: Upstream) -> Iterator[Fault]:
    own = {server.public_url, *server.public_aliases}
    if upstream.base_url in own:
        yield Fault(
            "upstream.base_url",
            f'"{upstream.base_url}"',
            "must be Replicate's address: this one is the gateway's own",
        )


def _ambiguous(upstream: Upstream) -> Iterator[Fault]:
    for key in ("delivery_origins", "stream_origins"):
        patterns = [parse_origin_pattern(text) for text in getattr(upstream, key)]
        try:
            refuse_ambiguous(patterns)
        except ValueError as error:
            yield Fault(f"upstream.{key}", "", str(error))


def _team_plan(name: str, team: Team, plans: frozenset[str]) -> Iterator[Fault]:
    if team.plan and team.plan not in plans:
        close = did_you_mean(team.plan, sorted(plans))
        cure = f'; did you mean "{close}"?' if close else f"; add [{key_path('plans', team.plan)}]"
        yield Fault(
            key_path("teams", name, "plan"), f'"{team.plan}"', f"no such plan is defined{cure}"
        )


def _team_webhook(name: str, team: Team, webhooks: Webhooks) -> Iterator[Fault]:
    if team.webhook.startswith("http:") and not webhooks.allow_private_addresses:
        yield Fault(
            key_path("teams", name, "webhook"),
            f'"{mask_url(team.webhook)}"',
            "must begin with https:// (or set webhooks.allow_private_addresses = true)",
        )
