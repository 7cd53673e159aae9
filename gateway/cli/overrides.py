"""What one user has that the plan does not say, as options of `users set`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

import click

from gateway.domain.models import glob_fault
from gateway.domain.plans import Metric, Overrides, Per, QuotaRule, Scope, models_key
from gateway.domain.quota import plain, to_units

_OF = r"(?::(?P<models>[^\s@]+))?(?P<scope>@team)?"
_RULE = re.compile(r"(?P<metric>\w+)=(?P<limit>[0-9._]+)/(?P<per>\w+)" + _OF)
_LIFTED = re.compile(r"(?P<metric>\w+)/(?P<per>\w+)" + _OF)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was said about the overrides of a user; None and empty leave them as they are."""

    quotas: Sequence[str] = ()
    no_quotas: Sequence[str] = ()
    concurrent: str | None = None
    trainings: bool | None = None
    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    reset: bool = False

    @property
    def any(self) -> bool:
        """Whether anything was said."""
        return self != Wishes()


def change(overrides: Overrides, wishes: Wishes) -> Overrides:
    """Return the overrides as they are wished for. Raises BadParameter."""
    if wishes.reset:
        overrides = Overrides()
    for text in wishes.quotas:
        rule = parse_rule(text)
        kept = tuple(known for known in overrides.rules if known.key != rule.key)
        lifted = tuple(key for key in overrides.lifted if key != rule.key)
        overrides = replace(overrides, rules=(*kept, rule), lifted=lifted)
    for text in wishes.no_quotas:
        key = parse_lifted(text)
        kept = tuple(known for known in overrides.rules if known.key != key)
        lifted = tuple(dict.fromkeys((*overrides.lifted, key)))
        overrides = replace(overrides, rules=kept, lifted=lifted)
    if wishes.concurrent is not None:
        limit = _concurrent(wishes.concurrent)
        overrides = replace(
            overrides, concurrent_predictions=limit, unlimited_concurrency=limit is None
        )
    if wishes.trainings is not None:
        overrides = replace(overrides, trainings=wishes.trainings)
    if wishes.allow:
        overrides = replace(overrides, models_allow=_globs(wishes.allow, "--allow"))
    if wishes.deny:
        overrides = replace(overrides, models_deny=_globs(wishes.deny, "--deny"))
    return overrides


def parse_rule(text: str) -> QuotaRule:
    """Read METRIC=LIMIT/PER[:MODEL,…][@team], such as cost_usd=20/month. Raises BadParameter.

    ``@team`` means the budget that the team shares.
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise _bad("--quota", f'"{text}" must be METRIC=LIMIT/PER, such as predictions=500/day')
    metric, per = _metric(found["metric"], "--quota"), _per(found["per"], "--quota")
    models = _globs(found["models"].split(","), "--quota") if found["models"] else ()
    try:
        limit = to_units(metric, Decimal(found["limit"]))
    except InvalidOperation:
        raise _bad("--quota", f'"{found["limit"]}" is no amount') from None
    except ValueError as error:
        raise _bad("--quota", str(error)) from error
    return QuotaRule(metric, limit, per, models, _scope(found["scope"]))


def parse_lifted(text: str) -> tuple[Metric, Per, str, Scope]:
    """Read METRIC/PER[:MODEL,…][@team], which names a rule without its amount.

    Raises BadParameter.
    """
    found = _LIFTED.fullmatch(text)
    if found is None:
        raise _bad("--no-quota", f'"{text}" must be METRIC/PER, such as predictions/day')
    models = _globs(found["models"].split(","), "--no-quota") if found["models"] else ()
    metric, per = _metric(found["metric"], "--no-quota"), _per(found["per"], "--no-quota")
    return metric, per, models_key(models), _scope(found["scope"])


def describe(overrides: Overrides) -> list[str]:
    """Write overrides the way in which they are set, for people."""
    lines = [
        f"quota {rule.metric}={plain(rule.metric, rule.limit):f}/{rule.per}"
        + _suffix(rule.models_key, rule.scope)
        for rule in overrides.rules
    ]
    lines += [
        f"no quota {metric}/{per}" + _suffix(models, scope)
        for metric, per, models, scope in overrides.lifted
    ]
    if overrides.unlimited_concurrency:
        lines.append("concurrent unlimited")
    elif overrides.concurrent_predictions is not None:
        lines.append(f"concurrent {overrides.concurrent_predictions}")
    if overrides.trainings is not None:
        lines.append("trainings" if overrides.trainings else "no trainings")
    for name, globs in (("allow", overrides.models_allow), ("deny", overrides.models_deny)):
        if globs is not None:
            lines.append(f"{name} {', '.join(globs) or 'nothing'}")
    return lines


def _scope(text: str | None) -> Scope:
    return Scope.USER if text is None else Scope.TEAM


def _suffix(models: str, scope: Scope) -> str:
    return (f":{models}" if models else "") + ("@team" if scope is Scope.TEAM else "")


def _metric(text: str, option: str) -> Metric:
    try:
        return Metric(text)
    except ValueError:
        raise _bad(option, f'"{text}" is no metric: there are {", ".join(Metric)}') from None


def _per(text: str, option: str) -> Per:
    try:
        return Per(text)
    except ValueError:
        raise _bad(option, f'"{text}" is no window: there are {", ".join(Per)}') from None


def _concurrent(text: str) -> int | None:
    if text == "unlimited":
        return None
    if not (text.isascii() and text.isdigit()):
        raise _bad("--concurrent", f'"{text}" must be a whole number or "unlimited"')
    return int(text)


def _globs(patterns: Sequence[str], option: str) -> tuple[str, ...]:
    for pattern in patterns:
        fault = glob_fault(pattern)
        if fault is not None:
            raise _bad(option, f'"{pattern}" matches no model: {fault}')
    return tuple(pattern.lower() for pattern in patterns)


def _bad(option: str, message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint=option)
