import httpx

from tests.support.running import running


def test_the_bare_address_leads_people_to_the_usage_page_and_tells_programs_where_to_go() -> None:
    with running("") as gateway, httpx.Client(base_url=gateway.url, trust_env=False) as client:
        answer = client.get("/")
        assert (answer.status_code, answer.headers["location"]) == (307, "/dashboard")
        assert "/dashboard" in answer.text
        assert "/replicate" in answer.text
        assert client.head("/").status_code == 307

        refused = client.post("/", json={})
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
        assert "text/html" in client.get("/", follow_redirects=True).headers["content-type"]
