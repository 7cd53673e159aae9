"""People who try the demo, so that its dashboards have something to show.

compose.yaml runs this beside a gateway that has no Replicate token, and so a simulated Replicate:
nothing costs anything. Where there is a token it ends at once. Needs nothing but Python.
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TERMINAL = {"succeeded", "failed", "canceled", "aborted"}
# Who comes, and what they may use: the last one soon has nothing left.
QUOTAS: dict[str, list[dict[str, object]]] = {
    "ann": [{"metric": "cost_usd", "limit": 20, "per": "month"}],
    "ben": [
        {"metric": "images", "limit": 2000, "per": "day"},
        {"metric": "tokens", "limit": 500_000, "per": "day"},
    ],
    "cyd": [{"metric": "predictions", "limit": 3, "per": "hour"}],
}
MODELS = (
    "black-forest-labs/flux-schnell",
    "meta/meta-llama-3-8b-instruct",
    "simulated/single-picture",
    "simulated/failing",
)
PROMPTS = ("a lighthouse at dawn", "a red kite over the moor", "two foxes in the snow", "a fugue")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a key at the gateway's address."""

    url: str
    key: str

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Send one request; return its status, also that of a refusal, and its body."""
        request = urllib.request.Request(  # noqa: S310  # the gateway's own address
            path if path.startswith("http") else self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()


def host(url: str, key_file: Path) -> Visitor | None:
    """Wait for the gateway; return who holds its demo's key, an admin; None if it is no demo."""
    while not ready(url):
        time.sleep(1)
    try:
        found = Visitor(url, key_file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    # A key of an earlier demo opens nothing where there is an account now.
    return found if found.ask("GET", "/admin/v1/users")[0] == 200 else None


def ready(url: str) -> bool:
    """Return whether the gateway can serve."""
    try:
        return Visitor(url, "").ask("GET", "/readyz")[0] == 200
    except OSError:
        return False


def welcome(admin: Visitor) -> dict[str, Visitor]:
    """Return the visitors by name; who was here before a restart comes anew."""
    visitors = {}
    for name, quotas in QUOTAS.items():
        admin.ask("DELETE", f"/admin/v1/users/{name}")
        admin.ask("POST", "/admin/v1/users", {"name": name})
        admin.ask("PATCH", f"/admin/v1/users/{name}", {"overrides": {"quotas": quotas}})
        _, told = admin.ask("POST", "/admin/v1/keys", {"user": name, "label": "a visitor"})
        visitors[name] = Visitor(admin.url, json.loads(told)["key"])
    return visitors


def visit(visitor: Visitor, model: str, prompt: str) -> str:
    """Make one prediction, look at it until it ends, get what it made; return how it ended."""
    create = f"/replicate/v1/models/{model}/predictions"
    status, told = visitor.ask("POST", create, {"input": {"prompt": prompt}})
    if status != 201:
        return f"refused with {status}"
    made = json.loads(told)
    for _ in range(100):
        # Twice: the second look is answered from what the first one found.
        for _ in range(2):
            status, told = visitor.ask("GET", f"/replicate/v1/predictions/{made['id']}")
        made = json.loads(told) if status == 200 else made
        if made["status"] in TERMINAL:
            break
        time.sleep(0.3)
    for file in files(made.get("output")):
        visitor.ask("GET", file)
        visitor.ask("GET", file)
    return str(made["status"])


def files(output: object) -> Iterator[str]:
    """Yield the addresses of a prediction's files."""
    for each in output if isinstance(output, list) else [output]:
        if isinstance(each, str) and each.startswith("http"):
            yield each


def main() -> None:
    """Visit until the container ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="where the gateway is")
    parser.add_argument("key_file", type=Path, help="where its demo keeps its key")
    parser.add_argument("--pause", type=float, default=6, help="seconds between two visits")
    given = parser.parse_args()
    admin = host(given.url, given.key_file)
    if admin is None:
        sys.stderr.write("there is a Replicate account: nobody visits at its cost\n")
        return
    visitors = welcome(admin)
    turn = 0
    while True:
        for name, visitor in visitors.items():
            model = MODELS[turn % len(MODELS)]
            try:
                ended = visit(visitor, model, PROMPTS[turn % len(PROMPTS)])
            except OSError as error:
                ended = f"no answer: {error}"
            sys.stderr.write(f"{name}: {model} {ended}\n")
            turn += 1
            time.sleep(given.pause)


if __name__ == "__main__":
    main()
