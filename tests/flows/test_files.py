"""Uploaded files: whose they are, how they are read, and that they only pass through."""

import hashlib
import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.support.running import Running, running

FILES = "/replicate/v1/files"
TEAM = """
[upstream]
max_upload_bytes = 300000

[teams.studio]
share = true

[teams.lab]
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with running(TEAM) as gateway:
        yield gateway


def upload(
    client: httpx.Client, content: bytes = b"some words", name: str = "words.txt"
) -> httpx.Response:
    return client.post(
        FILES,
        files={"content": (name, content, "text/plain")},
        data={"metadata": json.dumps({"reference": 123})},
    )


def uploaded(client: httpx.Client, content: bytes = b"some words") -> dict[str, object]:
    answer = upload(client, content)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_an_upload_is_answered_as_upstream_does_but_for_its_address(gateway: Running) -> None:
    with gateway.client(gateway.add_user("a1")) as client:
        file = uploaded(client)
        assert file["name"] == "words.txt"
        assert file["metadata"] == {"reference": 123}
        assert file["urls"] == {"get": f"{gateway.url}{FILES}/{file['id']}"}
        read = client.get(f"{FILES}/{file['id']}")
        assert read.status_code == 200
        assert read.json() == file


def test_the_upload_reaches_upstream_byte_for_byte_with_its_length(gateway: Running) -> None:
    content = bytes(range(256)) * 900
    with gateway.client(gateway.add_user("a2")) as client:
        file = uploaded(client, content)
    assert file["checksums"]["sha256"] == hashlib.sha256(content).hexdigest()  # type: ignore[index]
    (entry,) = gateway.sim.log.entries(operation="files.create")[-1:]
    assert entry.header("content-length") == str(entry.body_size)
    assert entry.authorization == f"Bearer {gateway.sim_config.token}"


def test_an_upload_without_announced_length_arrives_too(gateway: Running) -> None:
    boundary = "xyz"
    form = (
        b'--xyz\r\nContent-Disposition: form-data; name="content"; filename="a.bin"\r\n\r\n'
        + b"0123456789"
        + b"\r\n--xyz--\r\n"
    )
    with gateway.client(gateway.add_user("a3")) as client:
        answer = client.post(
            FILES,
            content=iter([form[:20], form[20:]]),
            headers={"content-type": f"multipart/form-data; boundary={boundary}"},
        )
    assert answer.status_code == 201, answer.text
    assert answer.json()["size"] == 10


def test_one_that_is_announced_too_large_is_refused_before_it_is_sent(gateway: Running) -> None:
    key = gateway.add_user("a4")
    before = gateway.sim.log.count(operation="files.create")
    host, _, port = gateway.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        head = (
            f"POST {FILES} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 300001\r\n\r\n"
        )
        raw.sendall(head.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")
    assert gateway.sim.log.count(operation="files.create") == before


def test_one_that_grows_too_large_on_the_way_is_refused_and_not_kept(gateway: Running) -> None:
    with gateway.client(gateway.add_user("a5")) as client:
        answer = client.post(
            FILES,
            content=(b"x" * 50_000 for _ in range(20)),
            headers={"content-type": "multipart/form-data; boundary=x"},
        )
        assert answer.status_code == 413
        assert client.get(FILES).json()["results"] == []


def test_what_upstream_refuses_is_passed_on_and_not_kept(gateway: Running) -> None:
    with gateway.client(gateway.add_user("a6")) as client:
        answer = client.post(FILES, content=b"{}", headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["title"] == "Bad Request"
        assert client.get(FILES).json() == {"next": None, "previous": None, "results": []}


def test_files_of_others_do_not_exist(gateway: Running) -> None:
    with (
        gateway.client(gateway.add_user("b1")) as mine,
        gateway.client(gateway.add_user("b2", team="lab")) as theirs,
    ):
        file = uploaded(mine)
        url = f"{FILES}/{file['id']}"
        assert theirs.get(url).status_code == 404
        assert theirs.delete(url).status_code == 404
        assert theirs.get(f"{url}/download?signature=x").status_code == 404
        assert theirs.get(FILES).json()["results"] == []
        assert mine.get(url).status_code == 200


def test_a_team_that_does_not_share_does_not_read(gateway: Running) -> None:
    with (
        gateway.client(gateway.add_user("l1", team="lab")) as one,
        gateway.client(gateway.add_user("l2", team="lab")) as other,
    ):
        assert other.get(f"{FILES}/{uploaded(one)['id']}").status_code == 404


def test_a_team_that_shares_reads_but_neither_deletes_nor_lists(gateway: Running) -> None:
    with (
        gateway.client(gateway.add_user("s1", team="studio")) as one,
        gateway.client(gateway.add_user("s2", team="studio")) as other,
    ):
        file = uploaded(one)
        url = f"{FILES}/{file['id']}"
        assert other.get(url).json() == file
        assert other.delete(url).status_code == 404
        assert other.get(FILES).json()["results"] == []
        assert one.get(url).status_code == 200


def test_a_deleted_file_is_gone_here_and_upstream(gateway: Running) -> None:
    with gateway.client(gateway.add_user("c1")) as client:
        url = f"{FILES}/{uploaded(client)['id']}"
        deleted = client.delete(url)
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert client.get(url).status_code == 404
        assert client.get(FILES).json()["results"] == []
        assert client.delete(url).status_code == 404


def test_the_list_has_pages_newest_first_of_ones_own(gateway: Running) -> None:
    with (
        gateway.client(gateway.add_user("d1")) as client,
        gateway.client(gateway.add_user("d2")) as other,
    ):
        uploaded(other)
        ids = []
        for number in range(103):
            ids.append(uploaded(client, b"%d" % number)["id"])
            gateway.clock.advance(1)  # type: ignore[attr-defined]  # a ManualClock
        first = client.get(FILES).json()
        assert [file["id"] for file in first["results"]] == ids[:2:-1]
        assert first["previous"] is None
        assert first["next"].startswith(f"{gateway.url}{FILES}?cursor=")
        second = client.get(first["next"]).json()
        assert [file["id"] for file in second["results"]] == ids[2::-1]
        assert second["next"] is None
        assert client.get(second["previous"]).json()["results"] == first["results"]
        assert first["results"][0] == client.get(f"{FILES}/{ids[-1]}").json()
        assert client.get(f"{FILES}?cursor=nonsense").status_code == 400


def test_the_list_outlives_a_restart_and_forgets_what_upstream_forgot() -> None:
    with running() as gateway:
        key = gateway.add_user("ann")
        with gateway.client(key) as client:
            file = uploaded(client)
        gateway.restart()
        with gateway.client(key) as client:
            assert client.get(FILES).json()["results"][0]["id"] == file["id"]
            gateway.clock.advance(86_401)  # type: ignore[attr-defined]  # a ManualClock
            assert client.get(FILES).json()["results"] == []
            assert client.get(f"{FILES}/{file['id']}").status_code == 404


def signed(gateway: Running, file: dict[str, object]) -> str:
    """The signed address as a client of the gateway has it."""
    url = gateway.sim.signed_download(str(file["id"]))
    return f"{gateway.base}{url.removeprefix(gateway.sim.api_url)}"


def test_a_signed_download_works_with_the_owners_key_and_without_any(gateway: Running) -> None:
    content = b"0123456789" * 20_000
    with gateway.client(gateway.add_user("e1")) as client, gateway.client() as anybody:
        url = signed(gateway, uploaded(client, content))
        for reader in (client, anybody):
            answer = reader.get(url)
            assert answer.status_code == 200
            assert answer.content == content
            assert answer.headers["content-length"] == str(len(content))
            assert answer.headers["content-type"] == "text/plain"
            assert answer.headers["x-content-type-options"] == "nosniff"
        head = client.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(content))
    for entry in gateway.sim.log.entries(operation="files.download"):
        assert entry.authorization is None


def test_a_download_needs_a_key_or_a_good_signature(gateway: Running) -> None:
    with gateway.client(gateway.add_user("e2")) as client, gateway.client() as anybody:
        file = uploaded(client)
        plain = f"{FILES}/{file['id']}/download"
        assert anybody.get(plain).status_code == 401
        forged = f"{plain}?owner=acme&expiry=99999999999&signature=AAAA"
        assert anybody.get(forged).status_code == 404
        assert client.get(forged).status_code == 404
        assert client.get(f"{FILES}/nothing/download?signature=x").status_code == 404
        assert anybody.get(f"{FILES}/nothing/download?signature=x").status_code == 404
