"""A real Prometheus on loopback, with the project's own rules at a test's pace."""

import contextlib
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]  # published without types

from tests.support.process import PATIENCE_S, free_port

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "grafana" / "prometheus"
PACE = "500ms"


class Prometheus:
    """Asks a running Prometheus; what it answers to a wrong query fails the test."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20
        )

    def ask(self, path: str, **parameters: str) -> Any:
        answer = self._client.get(f"/api/v1{path}", params=parameters)
        told = json.loads(answer.text)
        assert told["status"] == "success", (parameters, told)
        assert not told.get("warnings"), (parameters, told)
        return told["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an expression now."""
        found: list[dict[str, Any]] = self.ask("/query", query=expr)["result"]
        return found

    def last_minute(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an expression as a graph shows them."""
        now = time.time()
        found: list[dict[str, Any]] = self.ask(
            "/query_range", query=expr, start=f"{now - 60:.3f}", end=f"{now:.3f}", step="1"
        )["result"]
        return found

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        return {
            alert["labels"]["alertname"]
            for alert in self.ask("/alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def scraped(self) -> bool:
        """Return whether the gateway was read."""
        try:
            if self._client.get("/-/ready").status_code != 200:
                return False
            return any(float(series["value"][1]) == 1 for series in self.query("up"))
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self._client.close()


def _quickened(text: str) -> str:
    """Return rules that are evaluated all the time and wait for nothing before they fire."""
    return re.sub(r"\bfor: \w+", "for: 0s", re.sub(r"interval: \w+", f"interval: {PACE}", text))


@contextlib.contextmanager
def prometheus(metrics_port: int) -> Iterator[Prometheus]:
    """Run Prometheus on the gateway's metrics port until the block ends."""
    with tempfile.TemporaryDirectory(prefix="prometheus-") as name:
        folder = Path(name)
        config = yaml.safe_load((SOURCES / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": PACE, "evaluation_interval": PACE}
        config["global"]["scrape_timeout"] = PACE
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{metrics_port}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        (folder / "rules").mkdir()
        for path in (SOURCES / "rules").glob("*.yml"):
            rules = _quickened(path.read_text(encoding="utf-8"))
            (folder / "rules" / path.name).write_text(rules, encoding="utf-8")
        port = free_port()
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=output,
                stderr=output,
            )
        server = Prometheus(port)
        try:
            until = time.monotonic() + PATIENCE_S
            while not server.scraped():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            yield server
        finally:
            server.close()
            process.terminate()
            process.wait(PATIENCE_S)
