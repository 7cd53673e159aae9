"""compose.yaml: its parts fit each other and the files that it mounts, and a first start shows all.

Containers cannot be had wherever tests run. What they would run is run as processes, with the
environment and the commands that stand in the file; `make image-check` runs the image.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml  # type: ignore[import-untyped]  # published without types

from gateway.settings.environment import PREFIX
from grafana.generate import files
from tests.prometheus.server import prometheus
from tests.prometheus.test_queries import ALL_PANELS, wait_for_data
from tests.support.process import PATIENCE_S, free_port

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "grafana"
FILE = ROOT / "compose.yaml"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


COMPOSE = read(FILE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def interpolated(text: str, environment: Mapping[str, str]) -> str:
    """Return a value as Compose reads it: ${NAME:-default}."""
    return re.sub(
        r"\$\{(\w+):-([^}]*)\}", lambda found: environment.get(found[1]) or found[2], text
    )


def mounts(service: str) -> dict[str, str]:
    """Return what a service sees where: place inside to source."""
    pairs = (volume.split(":") for volume in SERVICES[service]["volumes"])
    return {pair[1]: pair[0] for pair in pairs}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    user = service.get("user")
    if "build" not in service:  # the image of one's own says it by itself
        assert user
        assert int(user.split(":")[0]) > 0
    else:
        dockerfile = (ROOT / service["build"] / "Dockerfile").read_text(encoding="utf-8")
        assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_every_mount_is_of_something_that_exists(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists()
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]
    assert set(COMPOSE["volumes"]) == {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service["volumes"]
        if not volume.startswith(".")
    }


def test_every_image_of_others_is_pinned() -> None:
    for service in SERVICES.values():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    base = re.search(
        r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert base is not None
    assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+-[\w-]+@sha256:[0-9a-f]{64}", base[1])


def test_only_the_gateway_is_open_to_others() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:") or name == "gateway"
    metrics = SERVICES["gateway"]["environment"]["GATEWAY_SERVER__METRICS_PORT"]
    assert not [port for port in SERVICES["gateway"]["ports"] if port.endswith(f":{metrics}")]


@pytest.mark.prometheus
def test_prometheus_reads_the_gateway_and_the_rules_that_are_mounted() -> None:
    command = SERVICES["prometheus"]["command"]
    options = dict(option.removeprefix("--").split("=", 1) for option in command)
    seen = mounts("prometheus")
    folder, name = options["config.file"].rsplit("/", 1)
    config = read(ROOT / seen[folder] / name)
    assert options["storage.tsdb.path"] in seen
    assert [list((ROOT / seen[folder]).glob(pattern)) for pattern in config["rule_files"]] != [[]]
    gateway = SERVICES["gateway"]["environment"]
    port = gateway["GATEWAY_SERVER__METRICS_PORT"]
    (scraped,) = config["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": [f"gateway:{port}"]}]
    assert gateway["GATEWAY_SERVER__METRICS_HOST"] == "0.0.0.0"
    subprocess.run(
        ["promtool", "check", "config", "--syntax-only", ROOT / seen[folder] / name],
        capture_output=True,
        check=True,
    )


def test_grafana_finds_its_source_its_dashboards_and_its_alerts() -> None:
    seen = mounts("grafana")
    provisioning = ROOT / seen["/etc/grafana/provisioning"]
    (source,) = read(provisioning / "datasources" / "prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = read(provisioning / "dashboards" / "gateway.yml")["providers"]
    folder = ROOT / seen[provider["options"]["path"]]
    assert {path.name for path in folder.iterdir()} == {path.name for path in files()}
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.rsplit("/", 1)[0] == provider["options"]["path"]
    assert (folder / home.rsplit("/", 1)[1]).is_file()
    used = {
        panel["datasource"]["uid"]
        for path in files()
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        if panel["type"] != "row"
    }
    assert used == {source["uid"]}
    assert read(provisioning / "alerting" / "gateway.yml")["groups"]
    # A dashboard folder inside a volume would hide behind it.
    assert not provider["options"]["path"].startswith("/var/lib/grafana")


class Account(BaseHTTPRequestHandler):
    """A gateway with an account: it is ready, and knows no key of a demo."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200 if self.path == "/readyz" else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its base's name
        """Say nothing."""


@pytest.mark.parametrize("left_over", [False, True])
def test_nobody_visits_where_there_is_an_account(tmp_path: Path, left_over: bool) -> None:
    assert "REPLICATE_API_TOKEN" not in json.dumps(SERVICES["visitors"])
    if left_over:
        (tmp_path / "key").write_text("hk-of-an-earlier-demo")
    Account.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Account) as gateway:
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        python, script, *_ = command_of_the_visitors()
        url = f"http://127.0.0.1:{gateway.server_port}"
        done = subprocess.run(
            [python, script, url, tmp_path / "key"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        gateway.shutdown()
    assert "nobody visits" in done.stderr
    assert Account.asked == ["/readyz", "/admin/v1/users"][: 1 + left_over]


def command_of_the_visitors() -> list[str]:
    """Return what the visitors' container runs, as a command of this machine."""
    visitors = SERVICES["visitors"]
    python, script = visitors["entrypoint"]
    assert python == "python"
    source = ROOT / mounts("visitors")[script]
    return [sys.executable, str(source), *visitors["command"]]


@contextlib.contextmanager
def first_start(folder: Path) -> Iterator[int]:
    """Run what the first `docker compose up` runs, without a token; yield the metrics' port."""
    service = SERVICES["gateway"]
    told = {name: interpolated(text, {}) for name, text in service["environment"].items()}
    assert told["REPLICATE_API_TOKEN"] == ""
    port, metrics_port = free_port(), free_port()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    environment = {
        **clean,
        **told,
        "GATEWAY_SERVER__HOST": "127.0.0.1",
        "GATEWAY_SERVER__PORT": str(port),
        "GATEWAY_SERVER__METRICS_HOST": "127.0.0.1",
        "GATEWAY_SERVER__METRICS_PORT": str(metrics_port),
        "GATEWAY_STORAGE__DATA_DIR": str(folder),
    }
    visitors = [
        word.replace("http://gateway:8080", f"http://127.0.0.1:{port}").replace(
            f"{mounts_of_data()}/", f"{folder}/"
        )
        for word in command_of_the_visitors()
    ]
    with (folder / "log").open("wb") as log:
        running = [
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
            for command in (
                [sys.executable, "-m", "gateway", "serve"],
                [*visitors, "--pause=0.2"],
            )
        ]
        try:
            yield metrics_port
        except AssertionError:
            sys.stderr.write((folder / "log").read_text(errors="replace")[-5000:])
            raise
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(PATIENCE_S)


def mounts_of_data() -> str:
    """Return where the visitors see the gateway's data."""
    (place,) = (place for place, of in mounts("visitors").items() if of == "gateway-data")
    assert mounts("gateway")[place] == "gateway-data"
    return place


@pytest.mark.prometheus
@pytest.mark.xdist_group("compose")
def test_a_first_start_without_a_token_shows_something_in_every_panel(tmp_path: Path) -> None:
    with first_start(tmp_path) as port, prometheus(port) as server:
        wait_for_data(server, ALL_PANELS)
