"""Headless Chromium, driven over the WebDriver protocol: as much of it as tests here need."""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

PATIENCE_S = 20.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


@dataclass
class Browser:
    """One browser window."""

    http: httpx.Client
    session: str
    hosts: set[str] = field(default_factory=set)
    """Every host that was asked for anything so far (see `requested`)."""

    def _call(self, method: str, path: str, body: object = None) -> Any:
        content = None if method == "GET" else json.dumps(body or {})
        answer = self.http.request(method, f"/session/{self.session}{path}", content=content)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._call("GET", "/url"))

    @property
    def title(self) -> str:
        return str(self._call("GET", "/title"))

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page; what it returns may be a promise."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def click(self, selector: str) -> None:
        self._call("POST", f"/element/{self.find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self._call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press a key on whatever has the focus."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._call(
            "POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]}
        )

    def text(self, selector: str = "body") -> str:
        return str(self._call("GET", f"/element/{self.find(selector)}/text"))

    def until(self, script: str) -> Any:
        """Wait until a script returns something true."""
        until = time.monotonic() + PATIENCE_S
        while True:
            found = self.run(script)
            if found:
                return found
            assert time.monotonic() < until, f"it did not come true: {script}"
            time.sleep(0.05)

    def command(self, name: str, **parameters: object) -> Any:
        """Send a command of the DevTools protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def look_like(self, *, width: int, height: int, dark: bool) -> None:
        """Take on a screen's size and a colour scheme."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def screenshot(self) -> bytes:
        """Return what is to be seen, as a PNG."""
        return base64.b64decode(self._call("GET", "/screenshot"))

    def errors(self) -> list[str]:
        """Return what the console complained about since the last time."""
        lines = self._call("POST", "/se/log", {"type": "browser"})
        return [line["message"] for line in lines if line["level"] in ("SEVERE", "WARNING")]

    def requested(self) -> set[str]:
        """Return every host that has been asked for anything."""
        for line in self._call("POST", "/se/log", {"type": "performance"}):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(("data:", "about:", "chrome:")):
                    self.hosts.add(urlsplit(url).netloc)
        return self.hosts


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run a browser until the block ends."""
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert driver, "Chromium's driver is missing: apt-get install chromium-driver"
    with tempfile.TemporaryDirectory(prefix="browser-") as folder:
        process = subprocess.Popen(
            [driver, "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": folder},
            text=True,
        )
        try:
            port = _port(process)
            base = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=base, timeout=60, trust_env=False) as http:
                found = _session(http, chromium, folder)
                try:
                    yield found
                finally:
                    http.delete(f"/session/{found.session}")
        finally:
            process.terminate()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()


def _port(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if "started successfully on port " in line:
            return int(line.rpartition("on port ")[2].strip().rstrip("."))
    raise AssertionError("the driver did not start")


def _session(http: httpx.Client, chromium: str | None, folder: str) -> Browser:
    options: dict[str, object] = {
        "args": [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-first-run",
            f"--user-data-dir={folder}/profile",
        ]
    }
    if chromium is not None:
        options["binary"] = chromium
    wanted = {
        "capabilities": {
            "alwaysMatch": {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
        }
    }
    answer = http.post("/session", content=json.dumps(wanted))
    value = answer.json()["value"]
    assert answer.status_code == 200, value
    return Browser(http, value["sessionId"])
