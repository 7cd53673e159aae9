import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.operations import (
    OPERATIONS,
    Access,
    AnswerKind,
    BodyKind,
    Match,
    MethodNotAllowed,
    docs_table,
    match,
)

DESCRIPTION = Path(__file__).parents[3] / "shared/reference/replicate-openapi.json"


def matched(method: str, path: str) -> Match:
    found = match(method, path)
    assert isinstance(found, Match), found
    return found


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="the API's description is not beside the tree")
def test_the_table_is_the_official_description_and_nothing_else() -> None:
    described = {}
    for path, methods in json.loads(DESCRIPTION.read_text())["paths"].items():
        for method, row in methods.items():
            media = next(iter(row.get("requestBody", {}).get("content", {})), None)
            body = {
                None: BodyKind.NONE,
                "application/json": BodyKind.JSON,
                "text/plain": BodyKind.TEXT,
                "multipart/form-data": BodyKind.STREAM,
            }[media]
            success = next(
                answer for code, answer in row["responses"].items() if code.startswith("2")
            )
            answer = next(iter(success.get("content", {})), None)
            described[row["operationId"]] = (method.upper(), "/v1" + path, body, answer)
    media_of = {
        AnswerKind.TEXT: "text/plain",
        AnswerKind.BINARY: "application/octet-stream",
        AnswerKind.NOTHING: None,
    }
    ours = {
        one.name: (
            one.method,
            one.template,
            one.body,
            media_of.get(one.answer, "application/json"),
        )
        for one in OPERATIONS.values()
    }
    assert ours == described
    assert len(ours) == 37


def test_every_operation_is_found_by_its_own_path() -> None:
    for one in OPERATIONS.values():
        path = one.template.replace("{", "a-").replace("}", ".b_1")
        found = matched(one.method, path)
        assert found.operation is one
        assert found.path == path


@pytest.mark.parametrize(
    "path",
    [
        "/v1/predictions/abc",
        "/v1/v1/predictions/abc",
        "/predictions/abc",
        "/v1/predictions/abc/",
        "//v1/predictions/abc",
        "/v1//v1/predictions/abc",
        "/v1/predictions/%61bc",
    ],
)
def test_base_urls_with_too_much_or_too_little_mean_the_same(path: str) -> None:
    found = matched("GET", path)
    assert (found.operation.name, found.path) == ("predictions.get", "/v1/predictions/abc")
    assert found.params == {"prediction_id": "abc"}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1",
        "/v1/v1/v1/predictions",
        "/v1/nothing",
        "/v2/predictions",
        "/v1/predictions//cancel",
        "/v1/predictions/..",
        "/v1/predictions/%2e%2e",
        "/v1/predictions/a%2fb",
        "/v1/predictions/a%5Cb",
        "/v1/predictions/a%00",
        "/v1/predictions/a b",
        "/v1/predictions/ä",
        "/v1/predictions/a?b",
        "/v1/predictions/" + "a" * 201,
        "/v1/models/owner",
        "/v1/models/owner//predictions",
        "/v1/models/owner/name/versions/id/predictions",
        "/v1/webhooks/other/secret",
        "https://elsewhere.example/v1/predictions",
    ],
)
def test_what_is_not_in_the_official_api_is_not_found(path: str) -> None:
    assert match("GET", path) is None


def test_a_known_path_with_another_method_tells_what_is_allowed() -> None:
    assert match("PUT", "/v1/models") == MethodNotAllowed(
        ("GET", "HEAD", "OPTIONS", "POST", "QUERY")
    )
    assert match("GET", "/v1/predictions/a/cancel") == MethodNotAllowed(("OPTIONS", "POST"))
    assert match("get", "/v1/models") == MethodNotAllowed(
        ("GET", "HEAD", "OPTIONS", "POST", "QUERY")
    )


def test_head_means_get_and_query_is_a_method_of_its_own() -> None:
    assert matched("HEAD", "/v1/models").operation.name == "models.list"
    assert matched("QUERY", "/v1/models").operation.name == "models.search"


def test_names_with_dots_reach_upstream_as_they_are() -> None:
    found = matched("POST", "/v1/models/black-forest-labs/flux-1.1-pro/predictions")
    assert found.params["model_name"] == "flux-1.1-pro"
    assert found.operation.access is Access.CREATE


def test_only_paid_work_counts_as_a_create() -> None:
    assert {one.name for one in OPERATIONS.values() if one.creates} == {
        "predictions.create",
        "models.predictions.create",
        "deployments.predictions.create",
        "trainings.create",
    }


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["v1", "models", "predictions", "files", "..", ".", "%2e", "", "a"]),
            st.text(max_size=5),
        ),
        max_size=6,
    )
)
def test_whatever_arrives_only_plain_official_paths_leave(segments: list[str]) -> None:
    found = match("GET", "/" + "/".join(segments))
    if not isinstance(found, Match):
        return
    parts = found.path.split("/")
    assert found.path.startswith("/v1/")
    assert not {"", ".", ".."} & set(parts[1:])
    assert found.path.isascii()
    assert not set("%?#\\ ") & set(found.path)
    again = match("GET", found.path)
    assert again == found


def test_the_documented_table_has_one_row_for_each_operation() -> None:
    lines = docs_table().splitlines()
    assert len(lines) == 2 + 37
    assert all(line.count("|") == 6 for line in lines)
