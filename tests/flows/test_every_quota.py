"""Every metric in every window and scope: what fits is let in, what does not is refused."""

from dataclasses import dataclass
from itertools import product

import httpx
import pytest

from gateway.domain.plans import Metric, Per, Scope
from gateway.domain.quota import SHORT, instant, window
from gateway.ledger import Connection
from gateway.simulator import SimulatorConfig
from tests.support.clock import ManualClock
from tests.support.creating import predictions_of
from tests.support.people import make_user
from tests.support.running import Running, running

SLOW, FLUX = "simulated/slow", "black-forest-labs/flux-schnell"
LLAMA = "meta/meta-llama-3-8b-instruct"

# Of each metric: the model that takes of it, its input, and the limit into which two creates fit.
TAKES: dict[Metric, tuple[str, dict[str, object], str]] = {
    Metric.REQUESTS: (SLOW, {"seconds": 5}, "2"),
    Metric.PREDICTIONS: (SLOW, {"seconds": 5}, "2"),
    Metric.PREDICT_SECONDS: (SLOW, {"seconds": 5}, "8.5"),
    Metric.COST_USD: (SLOW, {"seconds": 5}, "0.09"),
    Metric.IMAGES: (FLUX, {"prompt": "a fox", "num_outputs": 3}, "8"),
    Metric.TOKENS: (LLAMA, {"prompt": "a fox"}, "120"),
}
PRICES = f"""
[prices."{SLOW}"]
per_second = 0.01
expected_seconds = 4
[prices."{LLAMA}"]
per_output_token = 0.001
expected_tokens = 50
"""


@dataclass(frozen=True)
class Case:
    metric: Metric
    per: Per
    scope: Scope

    @property
    def name(self) -> str:
        return f"{self.metric}-{self.per}-{self.scope}"

    @property
    def toml(self) -> str:
        model, _, limit = TAKES[self.metric]
        return (
            f"[plans.{self.name}]\nquotas = [{{ metric = '{self.metric}', limit = {limit},"
            f" per = '{self.per}', scope = '{self.scope}', models = ['{model}'] }}]\n"
            f"[teams.{self.name}]\nplan = '{self.name}'\n"
        )


CASES = [Case(*case) for case in product(Metric, Per, Scope)]


def create(gateway: Running, key: str, case: Case) -> httpx.Response:
    model, given, _ = TAKES[case.metric]
    with gateway.client(key) as client:
        return client.post(predictions_of(model), json={"input": given})


@pytest.mark.slow
def test_two_fit_the_third_is_refused_and_the_next_window_is_whole_again() -> None:
    toml = "".join(case.toml for case in CASES) + PRICES
    plenty = {
        "GATEWAY_UPSTREAM__CREATES_PER_MINUTE": "1000000",
        "GATEWAY_UPSTREAM__REQUESTS_PER_MINUTE": "1000000",
    }
    with running(toml, env=plenty, sim=SimulatorConfig(enforce_rate_limits=False)) as gateway:
        clock = gateway.clock
        assert isinstance(clock, ManualClock)

        def add(conn: Connection) -> dict[tuple[str, int], str]:
            return {
                (case.name, n): make_user(conn, clock, f"{case.name}-{n}", team=case.name)
                for case in CASES
                for n in (1, 2)
            }

        keys = gateway.ledger(add)
        gateway.refresh_keys()
        for case in CASES:
            one, two = (keys[case.name, n] for n in (1, 2))
            # A team's budget is one, however many draw from it; a user's is everybody's own.
            shared = case.scope is Scope.TEAM
            assert create(gateway, one, case).status_code == 201, case
            assert create(gateway, two if shared else one, case).status_code == 201, case
            refused = create(gateway, one, case)
            assert refused.status_code == (429 if case.per in SHORT else 402), (case, refused.text)
            end = window(case.per, clock.now()).end
            assert int(refused.headers["ratelimit-reset"]) == -(-(end - clock.now()) // 1), case
            if case.per in SHORT:
                assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]
            else:
                assert instant(end) in refused.json()["detail"], case
            again = create(gateway, two, case)
            assert again.status_code == (refused.status_code if shared else 201), case
        for per in Per:
            clock.advance(window(per, clock.now()).end - clock.now() + 0.5)
            gateway.refresh_keys()
            for case in CASES:
                if case.per is per:
                    made = create(gateway, keys[case.name, 1], case)
                    assert made.status_code == 201, (case, made.text)
