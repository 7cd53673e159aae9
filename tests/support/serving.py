"""`python -m tests.support.serving CONFIG PORT`: a gateway as a process, on the real clock."""

import sys
from pathlib import Path

import uvicorn

from gateway.app import Gateway
from gateway.clock import SystemClock
from gateway.settings import load


def main() -> None:
    """Serve until SIGTERM."""
    settings = load(Path(sys.argv[1]))
    uvicorn.run(
        Gateway(settings, SystemClock()),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="warning",
        proxy_headers=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
