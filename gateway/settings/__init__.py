"""Every setting once: name, type, default, help; loading; all faults reported together.

``load`` reads the file and the environment, ``describe`` is what the documentation is made from,
``shown`` is what may be printed. Only ``cli`` and ``app`` import this package; everybody else gets
values.
"""

from gateway.settings.describe import (
    SectionDoc,
    SettingDoc,
    describe,
    describe_sections,
    shown,
    shown_shipped,
    shown_toml,
)
from gateway.settings.environment import holds_clients_key, process_environment
from gateway.settings.faults import Fault, SettingsError
from gateway.settings.handing import handed_over, taken_over
from gateway.settings.load import find_file, load
from gateway.settings.model import (
    Cache,
    Compat,
    Metrics,
    Mirror,
    Plan,
    Price,
    Quota,
    Retention,
    Server,
    Settings,
    Storage,
    Team,
    TeamQuota,
    Tls,
    Upstream,
    Webhooks,
)
from gateway.settings.shipped import StartingPrice, shipped_in_force, starting_prices

__all__ = [
    "Cache",
    "Compat",
    "Fault",
    "Metrics",
    "Mirror",
    "Plan",
    "Price",
    "Quota",
    "Retention",
    "SectionDoc",
    "Server",
    "SettingDoc",
    "Settings",
    "SettingsError",
    "StartingPrice",
    "Storage",
    "Team",
    "TeamQuota",
    "Tls",
    "Upstream",
    "Webhooks",
    "describe",
    "describe_sections",
    "find_file",
    "handed_over",
    "holds_clients_key",
    "load",
    "process_environment",
    "shipped_in_force",
    "shown",
    "shown_shipped",
    "shown_toml",
    "starting_prices",
    "taken_over",
]
