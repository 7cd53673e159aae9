import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.models import (
    ByModel,
    ByModelVersion,
    ByVersion,
    allowed,
    glob_fault,
    literal_models,
    matches,
    parse_version_field,
    rule_applies,
)
from gateway.domain.plans import Metric, Per, Plan, QuotaRule

VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"


def naive_match(glob: str, name: str) -> bool:
    """The definition itself, by recursion: slow, and plainly right."""
    if not glob:
        return not name
    if glob[0] == "*":
        return any(naive_match(glob[1:], name[taken:]) for taken in range(len(name) + 1))
    return bool(name) and glob[0] in ("?", name[0]) and naive_match(glob[1:], name[1:])


@given(st.text("ab*?/.", max_size=8), st.text("ab/.", max_size=8))
def test_a_glob_matches_what_its_definition_says(glob: str, name: str) -> None:
    assert matches((glob,), name) == naive_match(glob, name)


@given(st.text("abAB*?/", max_size=8), st.text("abAB/", max_size=8))
def test_case_never_decides_whether_a_glob_matches(glob: str, name: str) -> None:
    assert matches((glob.upper(),), name.lower()) == matches((glob.lower(),), name.upper())


@given(st.text(max_size=20))
def test_a_name_matches_itself_however_odd(name: str) -> None:
    literal = name.replace("*", "x").replace("?", "x")
    assert matches((literal,), literal)


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("meta/*", "meta/llama-3", True),
        ("meta/*", "metafoo/llama", False),
        ("*", "meta/llama", True),
        ("*flux*", "black-forest-labs/flux-dev", True),
        ("[am]eta/x", "meta/x", False),
        ("[am]eta/x", "[am]eta/x", True),
        ("a/b.c", "a/bxc", False),
        ("a/b", "a/b\n", False),
        ("a/b", "xa/b", False),
        ("", "a/b", False),
    ],
)
def test_only_star_and_question_mark_are_wildcards(glob: str, name: str, expected: bool) -> None:
    assert matches((glob,), name) is expected


def test_a_pattern_of_many_stars_does_not_take_long() -> None:
    begin = time.perf_counter()
    assert not matches(("*a" * 50 + "b",), "a" * 5000)
    assert time.perf_counter() - begin < 1


def test_denying_beats_allowing_and_an_empty_allow_list_allows_all() -> None:
    plan = Plan("p", models_allow=("meta/*",), models_deny=("*/secret*",))
    assert allowed(plan, "meta/llama")
    assert not allowed(plan, "meta/secret-llama")
    assert not allowed(plan, "other/llama")
    assert allowed(Plan("p"), "any/model")
    assert not allowed(Plan("p", models_deny=("any/*",)), "any/model")


def test_a_deployment_is_allowed_by_either_name_and_denied_by_either() -> None:
    plan = Plan("p", models_allow=("acme/app", "meta/*"), models_deny=("meta/old",))
    assert allowed(plan, "acme/app", "x/y")
    assert allowed(plan, "acme/other", "meta/llama")
    assert not allowed(plan, "acme/app", "meta/old")
    assert not allowed(plan, "acme/other", "x/y")


def test_a_rule_without_models_applies_to_everything() -> None:
    assert rule_applies(QuotaRule(Metric.IMAGES, 1, Per.DAY), "a/b")
    assert rule_applies(QuotaRule(Metric.IMAGES, 1, Per.DAY, ("a/*",)), "a/b")
    assert not rule_applies(QuotaRule(Metric.IMAGES, 1, Per.DAY, ("a/*",)), "c/b")
    assert not rule_applies(QuotaRule(Metric.IMAGES, 1, Per.DAY, ("a/*",)))


def test_the_three_spellings_of_a_version_are_told_apart() -> None:
    assert parse_version_field(VERSION) == ByVersion(VERSION)
    assert parse_version_field(VERSION.upper()) == ByVersion(VERSION)
    assert parse_version_field("Meta/Llama-3.1") == ByModel("meta", "llama-3.1")
    assert parse_version_field(f"meta/llama:{VERSION}") == ByModelVersion("meta", "llama", VERSION)
    assert parse_version_field("dp-0123abc") == ByVersion("dp-0123abc")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a/",
        "/b",
        "a/b/c",
        "a/b:",
        ":x",
        "a:b",
        "a/b:c:d",
        "../x",
        "a/..",
        "a b",
        "a/b\n",
        f" {VERSION}",
        "a//b",
        "a%2Fb",
        "é/b",
    ],
)
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="version"):
        parse_version_field(text)


@given(st.text(max_size=40))
def test_a_version_field_never_does_anything_but_parse_or_refuse(text: str) -> None:
    try:
        target = parse_version_field(text)
    except ValueError:
        return
    parts = [getattr(target, part) for part in target.__slots__]
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9._-]*", part) for part in parts)


def test_models_named_without_wildcards_are_found_once() -> None:
    globs = ("A/b", "a/b", "a/*", "c/d?", "noslash", "e/f")
    assert literal_models(globs) == ("a/b", "e/f")


@pytest.mark.parametrize("glob", ["*", "a/*", "a/b-?", "*/flux*", "A/b", "*flux"])
def test_a_useful_pattern_has_no_fault(glob: str) -> None:
    assert glob_fault(glob) is None


@pytest.mark.parametrize("glob", ["", "a b", "flux", "a/b/c", "a,b", "[a]/b", "https://x"])
def test_a_pattern_that_matches_nothing_has_a_fault(glob: str) -> None:
    assert glob_fault(glob)
