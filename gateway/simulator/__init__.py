"""A simulated Replicate: strict, complete, and without any cost.

`demo`, the tests and the benchmarks run against it. It stands beside the gateway: it knows nothing
of it, and the gateway cannot tell it from the real service.
"""

from gateway.simulator.config import SimulatorConfig
from gateway.simulator.faults import Fault, FaultKind, Faults
from gateway.simulator.log import LoggedRequest, RequestLog
from gateway.simulator.simulation import Simulator, Usage, UsageTotals

__all__ = [
    "Fault",
    "FaultKind",
    "Faults",
    "LoggedRequest",
    "RequestLog",
    "Simulator",
    "SimulatorConfig",
    "Usage",
    "UsageTotals",
]
