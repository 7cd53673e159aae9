"""How the log of a serving process is set up: by its settings, with its secrets named."""

import logging

from gateway import log
from gateway.settings import Settings


def configure_log(settings: Settings) -> None:
    """Send this process's log where the settings say, without the secrets in them."""
    secrets = [settings.upstream.token.get_secret_value()]
    secrets += [team.webhook_secret.get_secret_value() for team in settings.teams.values()]
    log.configure(settings.server.log_format, secrets=secrets)
    # The server's own account of starting and stopping repeats ours.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
