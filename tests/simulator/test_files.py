"""Uploaded files."""

import hashlib
import json

import httpx
import pytest

from tests.simulator.conftest import Api


async def upload(api: Api, content: bytes = b"hello", **more: object) -> httpx.Response:
    files = {"content": ("example.zip", content, "application/zip")}
    return await api.post("/files", files=files, **more)


async def test_a_file_object_carries_all_that_clients_need(api: Api) -> None:
    data = {"metadata": json.dumps({"customer_reference_id": 123})}
    answer = await upload(api, data=data)
    assert answer.status_code == 201
    document = answer.json()
    md5 = hashlib.md5(b"hello", usedforsecurity=False).hexdigest()
    assert document["name"] == "example.zip"
    assert document["content_type"] == "application/zip"
    assert document["size"] == 5
    assert document["etag"] == md5
    assert document["checksums"] == {"sha256": hashlib.sha256(b"hello").hexdigest(), "md5": md5}
    assert document["metadata"] == {"customer_reference_id": 123}
    assert document["urls"] == {"get": f"{api.simulator.api_url}/v1/files/{document['id']}"}
    assert document["expires_at"] > document["created_at"]
    assert (await api.get(document["urls"]["get"])).json() == document
    assert (await api.get("/files")).json()["results"] == [document]
    (logged,) = api.simulator.log.entries(operation="files.create")
    assert logged.body_size > 5
    assert b"customer_reference_id" in logged.body


async def test_the_bytes_are_had_with_a_good_signature_only(api: Api) -> None:
    content = bytes(range(256)) * 4000
    document = (await upload(api, content)).json()
    url = api.simulator.signed_download(document["id"], 60)
    answer = await api.plain(url)
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    assert (await api.plain(url.replace("signature=", "signature=x"))).status_code == 404
    assert (await api.plain(url.replace("owner=acme", "owner=you"))).status_code == 404
    api.clock.advance(61)
    assert (await api.plain(url)).status_code == 404


async def test_a_deleted_file_is_gone(api: Api) -> None:
    document = (await upload(api)).json()
    assert (await api.request("DELETE", f"/files/{document['id']}")).status_code == 204
    answer = await api.get(f"/files/{document['id']}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "File not found"})
    assert (await api.request("DELETE", f"/files/{document['id']}")).status_code == 404


async def test_a_file_lives_for_a_day(api: Api) -> None:
    document = (await upload(api)).json()
    api.clock.advance(86399)
    assert (await api.get(f"/files/{document['id']}")).status_code == 200
    api.clock.advance(2)
    assert (await api.get(f"/files/{document['id']}")).status_code == 404
    assert (await api.get("/files")).json()["results"] == []


async def test_a_file_that_is_too_large_is_refused_while_it_arrives(api: Api) -> None:
    api.simulator.configure(max_upload_bytes=1_000_000)
    assert (await upload(api, bytes(1_000_000))).status_code == 201
    answer = await upload(api, bytes(1_000_001))
    assert answer.status_code == 413
    assert answer.json() == {"detail": "Files must be less than 100MB in size"}
    assert len((await api.get("/files")).json()["results"]) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"files": {"other": ("a", b"b")}},
        {"files": {"content": ("a", b"b")}, "data": {"metadata": "{"}},
        {"files": {"content": ("a", b"b")}, "data": {"metadata": "[]"}},
        {"files": {"content": ("a" * 256, b"b")}},
        {"json": {"content": "x"}},
        {"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"what", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
    ],
)
async def test_a_form_that_is_not_right_is_refused(api: Api, more: dict[str, object]) -> None:
    assert (await api.post("/files", **more)).status_code == 400
    assert (await api.get("/files")).json()["results"] == []


async def test_an_upload_needs_the_token(api: Api) -> None:
    answer = await api.client.post(
        f"{api.simulator.api_url}/v1/files", files={"content": ("a", b"b")}
    )
    assert answer.status_code == 401
