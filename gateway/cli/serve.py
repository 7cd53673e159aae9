"""`serve` and `demo`: run the gateway."""

import socket
from pathlib import Path

import click
from pydantic import ValidationError

from gateway.cli import banner
from gateway.cli.commands import PROGRAM, Command, say
from gateway.cli.demo_data import demo_folder, the_only_demo
from gateway.cli.demo_user import begin_anew, demo_key
from gateway.cli.listening import bind
from gateway.cli.logs import configure_log
from gateway.cli.server import run_server
from gateway.cli.session import Session, with_session
from gateway.cli.simulated import Simulated, simulated_replicate
from gateway.ledger import users
from gateway.settings import Server, Settings, Storage, Upstream, process_environment

_PORT = click.IntRange(0, 65535)


@click.command(
    "serve",
    cls=Command,
    example=(
        f"REPLICATE_API_TOKEN=r8_... {PROGRAM} serve --port 8080\n"
        f"{PROGRAM} serve                # without a token: a demo"
    ),
)
@click.option("--host", metavar="ADDRESS", help="Where to listen (server.host).")
@click.option("--port", type=_PORT, help="The port to listen on (server.port); 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), help="How many processes (server.workers).")
@with_session
def serve(session: Session, host: str | None, port: int | None, workers: int | None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    SIGHUP publishes plans, teams and prices anew. Without a Replicate token a simulated Replicate
    is started beside it, and nothing is real: see "demo".
    """
    session.use_upstream()
    settings = _with_options(session.settings, host=host, port=port, workers=workers)
    if settings.upstream.token.get_secret_value():
        _serve(session, settings)
    else:
        say("No Replicate token is set (REPLICATE_API_TOKEN): starting the simulated Replicate.")
        _serve_demo(session, settings)


@click.command("demo", cls=Command, example=f"{PROGRAM} demo --port 8080")
@click.option("--port", type=_PORT, help="The port to listen on (server.port); 0 takes a free one.")
@with_session
def demo(session: Session, port: int | None) -> None:
    """Run the gateway with a simulated Replicate: no account, no cost.

    Its users, predictions and files are kept in data_dir/demo, apart from the real ones.
    """
    _serve_demo(session, _with_options(session.settings, host=None, port=port, workers=None))


def _with_options(
    settings: Settings, *, host: str | None, port: int | None, workers: int | None
) -> Settings:
    given = {"host": host, "port": port, "workers": workers}
    wanted = {name: value for name, value in given.items() if value is not None}
    try:
        server = Server.model_validate({**dict(settings.server), **wanted})
    except ValidationError as error:
        detail = error.errors()[0]
        raise click.BadParameter(
            detail["msg"].removeprefix("Value error, "), param_hint=f"--{detail['loc'][0]}"
        ) from error
    return settings.model_copy(update={"server": server})


def _listen(settings: Settings) -> tuple[socket.socket, Settings]:
    """Take the address; return the settings with the port that was got."""
    listener = bind(settings.server.host, settings.server.port)
    port = listener.getsockname()[1]
    return listener, _with_options(settings, host=None, port=port, workers=None)


def _serve(session: Session, settings: Settings) -> None:
    listener, settings = _listen(settings)
    with listener:
        configure_log(settings)
        known = session.run(lambda ledger: ledger.read(users.list_users), settings)
        run_server(
            settings,
            listener,
            session.clock,
            reload=session.load,
            on_ready=lambda: click.echo(
                banner.ready(
                    settings,
                    users=bool(known),
                    config_file=session.config_file,
                    env=process_environment(),
                ),
                nl=False,
            ),
        )


def _serve_demo(session: Session, settings: Settings) -> None:
    folder = demo_folder(settings)
    listener, settings = _listen(settings)
    with listener, the_only_demo(folder), simulated_replicate(folder) as simulated:
        settings = _simulated_settings(settings, simulated, folder)
        configure_log(settings)
        session.run(lambda ledger: begin_anew(ledger, session.clock), settings)
        key = session.run(lambda ledger: demo_key(ledger, folder, session.clock), settings)
        run_server(
            settings,
            listener,
            session.clock,
            reload=lambda: _simulated_settings(session.load(), simulated, folder),
            on_ready=lambda: click.echo(banner.demo_ready(settings, folder, key)),
        )


def _simulated_settings(settings: Settings, simulated: Simulated, folder: Path) -> Settings:
    """Point the settings at the simulation, and all storage at the demo's own folder."""
    upstream = Upstream.model_validate(
        {
            **dict(settings.upstream),
            "base_url": simulated.api_url,
            "token": simulated.token,
            "delivery_origins": simulated.delivery_origins,
            "stream_origins": simulated.stream_origins,
        }
    )
    mirror = settings.mirror.model_copy(update={"store_url": ""})
    return settings.model_copy(
        update={"upstream": upstream, "storage": Storage(data_dir=folder), "mirror": mirror}
    )
