"""`python -m gateway.simulator`: the simulated Replicate as a process of its own.

Prints one line of JSON with its origins and its token when it is ready; ends on SIGTERM.
"""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import orjson
import uvicorn

from gateway.clock import SystemClock
from gateway.simulator.config import SimulatorConfig
from gateway.simulator.simulation import Simulator


def read_arguments(arguments: list[str]) -> SimulatorConfig:
    """Return the dials that a command line sets."""
    usual = SimulatorConfig()
    parser = argparse.ArgumentParser(prog="python -m gateway.simulator", description=__doc__)
    parser.add_argument("--host", default=usual.host)
    parser.add_argument("--api-port", type=int, default=0)
    parser.add_argument("--delivery-port", type=int, default=0)
    parser.add_argument("--stream-port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--token", default=usual.token)
    parser.add_argument("--username", default=usual.username)
    parser.add_argument("--speed", type=float, default=usual.speed)
    parser.add_argument("--ttl", type=float, default=usual.output_ttl_s, help="of outputs, seconds")
    parser.add_argument("--upload-ttl", type=float, default=usual.upload_ttl_s)
    parser.add_argument("--creates-per-minute", type=int, default=usual.creates_per_minute)
    parser.add_argument("--requests-per-minute", type=int, default=usual.requests_per_minute)
    parser.add_argument("--no-limits", action="store_true", help="do not enforce rate limits")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    given = parser.parse_args(arguments)
    return SimulatorConfig(
        token=given.token,
        username=given.username,
        output_ttl_s=given.ttl,
        upload_ttl_s=given.upload_ttl,
        speed=given.speed,
        enforce_rate_limits=not given.no_limits,
        creates_per_minute=given.creates_per_minute,
        requests_per_minute=given.requests_per_minute,
        host=given.host,
        api_port=given.api_port,
        delivery_port=given.delivery_port,
        stream_port=given.stream_port,
        control_port=given.control_port,
        tls_cert_file=given.tls_cert,
        tls_key_file=given.tls_key,
    )


async def serve(config: SimulatorConfig) -> None:
    """Run until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with Simulator(config, SystemClock()) as simulator:
        sys.stdout.write(orjson.dumps(simulator.addresses()).decode() + "\n")
        sys.stdout.flush()
        await ended.wait()


def main() -> None:
    """Run the process."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    loop_factory = uvicorn.Config(app="", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve(read_arguments(sys.argv[1:])))


if __name__ == "__main__":
    main()
