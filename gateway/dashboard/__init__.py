"""The usage page: what is left, what was made, which keys there are; for people with a browser.

Pages are made on the server and work without script; the script only keeps them current. Nothing
is loaded from another host, and nothing that a model made can run here.
"""

from gateway.dashboard.app import PREFIX, Dashboard, Services
from gateway.dashboard.health import UpstreamHealth
from gateway.dashboard.session import Sessions

__all__ = ["PREFIX", "Dashboard", "Services", "Sessions", "UpstreamHealth"]
