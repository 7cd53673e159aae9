"""A company that spends: users, teams, budgets, thousands of predictions, failures and crashes.

The simulated Replicate lives in a loop of its own, the gateway in another that can be cut off at
any moment, as by a power cut. At the end the gateway's books are compared with the simulator's.
"""

import asyncio
import contextlib
import json
import random
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx
from sqlalchemy import select

from gateway.ledger import Connection, Ledger, creates, quotas
from gateway.ledger.tables import creates as create_table
from gateway.ledger.tables import predictions as prediction_table
from gateway.ledger.usage import UsageLine, report
from gateway.settings import load
from gateway.simulator import Simulator, SimulatorConfig
from gateway.simulator.faults import Fault, FaultKind
from tests.support.canary import TOKEN, Canary
from tests.support.clock import ManualClock
from tests.support.creating import API, predictions_of
from tests.support.people import make_user
from tests.support.running import Loop, Served, _serve

T = TypeVar("T")

TEAMS = 5
USERS = 20
FLUX = "black-forest-labs/flux-schnell"
LLAMA = "meta/meta-llama-3-8b-instruct"
PRICES: dict[str, dict[str, Decimal]] = {
    FLUX: {"per_image": Decimal("0.003")},
    LLAMA: {
        "per_input_token": Decimal("0.00000005"),
        "per_output_token": Decimal("0.00000025"),
    },
    "simulated/slow": {"per_second": Decimal("0.000225")},
    "simulated/failing": {"per_second": Decimal("0.001525"), "per_prediction": Decimal("0.01")},
}


def config(per_user: int, team_usd: float) -> str:
    prices = "\n".join(
        f'[prices."{model}"]\n' + "\n".join(f"{key} = {value:f}" for key, value in price.items())
        for model, price in PRICES.items()
    )
    teams = "\n".join(
        f"[teams.team{number}]\nquotas = [\n"
        f'  {{ metric = "cost_usd", limit = {team_usd * (1 + number):.4f}, per = "month" }},\n'
        f'  {{ metric = "predict_seconds", limit = {per_user * 8}, per = "month" }},\n]'
        for number in range(TEAMS)
    )
    return (
        f"[plans.default]\nquotas = [\n"
        f'  {{ metric = "predictions", limit = {per_user}, per = "month" }},\n'
        f'  {{ metric = "images", limit = {per_user}, per = "month", models = ["{FLUX}"] }},\n]\n'
        f"{teams}\n{prices}\n"
    )


@dataclass
class Outcome:
    """What the run came to."""

    made: int
    answers: Counter[int]
    crashes: int
    restarts: int
    seconds: float
    usage: list[UsageLine]
    overruns: list[str] = field(default_factory=list)
    refusals: int = 0
    """How many refusals were held against the books."""


@dataclass(frozen=True)
class Refusal:
    """A create that a quota refused: by which rule, between which instants, for what more."""

    user: int
    metric: str
    shared: bool
    models: tuple[str, ...]
    began_at: float
    ended_at: float
    needed: int


_EXPECTED = re.compile(r"expected to take (\$?)([\d.,]*\d)")
_UNITS = {"cost_usd": 10**9, "predict_seconds": 10**6}


def refusal_of(user: int, body: dict[str, Any], began_at: float, ended_at: float) -> Refusal:
    """Read a refusal as the client has it."""
    said = _EXPECTED.search(body["detail"])
    # Where nothing is left nothing is said of it: more than nothing it was.
    needed = Decimal(0) if said is None else Decimal(said[2].replace(",", ""))
    quota = body["quota"]
    return Refusal(
        user,
        quota["metric"],
        quota["scope"] == "team",
        tuple(quota["models"]),
        began_at,
        ended_at,
        max(1, int(needed * _UNITS.get(quota["metric"], 1))),
    )


class Company:
    """The gateway, its users and their random wishes."""

    def __init__(self, folder: Path, seed: int, per_user: int, team_usd: float) -> None:
        self.random = random.Random(seed)
        self.clock = ManualClock(seed=seed)
        self.folder = folder
        self.sim_loop = Loop()
        self.stack = AsyncExitStack()
        self.sim = Simulator(
            SimulatorConfig(
                token=TOKEN, enforce_rate_limits=False, output_ttl_s=1e9, keep_log_entries=100
            ),
            self.clock,
        )
        self.sim_loop.do(self.stack.enter_async_context(self.sim))
        file = folder / "gateway.toml"
        file.write_text(config(per_user, team_usd), encoding="utf-8")
        self.settings = load(
            file,
            {
                "GATEWAY_UPSTREAM__BASE_URL": self.sim.api_url,
                "GATEWAY_UPSTREAM__TOKEN": self.sim.token,
                "GATEWAY_UPSTREAM__DELIVERY_ORIGINS": json.dumps([self.sim.delivery_origin]),
                "GATEWAY_UPSTREAM__STREAM_ORIGINS": json.dumps([self.sim.stream_origin]),
                "GATEWAY_UPSTREAM__CREATES_PER_MINUTE": "1000000",
                "GATEWAY_UPSTREAM__REQUESTS_PER_MINUTE": "1000000",
                "GATEWAY_STORAGE__DATA_DIR": str(folder / "data"),
            },
        )
        self.canary = Canary(self.sim.token)
        self.loop = Loop()
        self.served: Served = self.loop.do(_serve(self.settings, self.clock, self.canary))
        self.cut: list[tuple[Loop, Served]] = []
        self.restarts = 0
        self.answers: Counter[int] = Counter()
        self.refused: defaultdict[str, set[int]] = defaultdict(set)
        self.refusals: list[Refusal] = []
        self.unsure: Counter[int] = Counter()
        """By user: attempts that may have been counted for a while without making anything."""
        self.running: list[tuple[int, str]] = []
        self.keys = [self.add_user(number) for number in range(USERS)]
        self.client = httpx.Client(timeout=50, trust_env=False)

    def add_user(self, number: int) -> str:
        team = f"team{number % TEAMS}"
        key = self.ledger(lambda conn: make_user(conn, self.clock, f"user{number}", team=team))
        self.canary.know(key)
        return key

    def ledger(self, work: Callable[[Connection], T]) -> T:
        async def run() -> T:
            async with Ledger("", self.clock, folder=self.folder / "data") as ledger:
                return await ledger.write(work)

        return self.sim_loop.do(run())

    def pass_time(self, seconds: float, step: float = 0.25) -> None:
        for _ in range(max(1, int(seconds / step))):
            self.clock.advance(step)
            time.sleep(0.004)

    def wait_for(self, work: list[Future[None]]) -> None:
        """Let time pass until these are done: some may wait for it."""
        until = time.monotonic() + 60
        while not all(each.done() for each in work):
            assert time.monotonic() < until, "a request is never answered"
            time.sleep(0.005)
            self.clock.advance(0.02)
        for each in work:
            each.result()

    def while_time_passes(self, loop: Loop, work: Coroutine[Any, Any, None]) -> None:
        done = asyncio.run_coroutine_threadsafe(work, loop.loop)
        until = time.monotonic() + 60
        while not done.done():
            assert time.monotonic() < until, "the gateway does not end"
            time.sleep(0.005)
            self.clock.advance(0.05)
        done.result()

    def crash(self) -> None:
        """Cut the gateway off in the middle of whatever it does."""
        served, loop = self.served, self.loop

        async def cut() -> None:
            for server in served.server.servers:
                server.close()
            for connection in list(served.server.server_state.connections):
                connection.transport.abort()
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)

        asyncio.run_coroutine_threadsafe(cut(), loop.loop)
        loop._thread.join(10)
        self.cut.append((loop, served))
        self.loop = Loop()
        self.served = self.loop.do(_serve(self.settings, self.clock, self.canary))

    def restart(self) -> None:
        async def stop() -> None:
            self.served.server.should_exit = True
            await self.served.task

        self.while_time_passes(self.loop, stop())
        self.restarts += 1
        self.served = self.loop.do(_serve(self.settings, self.clock, self.canary))

    def wish(self) -> tuple[int, str, dict[str, Any]]:
        user = self.random.randrange(USERS)
        mark = user / 10_000
        # Who asked can be told from the input alone: the simulator knows no users.
        wishes: list[tuple[str, dict[str, Any]]] = [
            (FLUX, {"prompt": f"user {user}", "num_outputs": self.random.randint(1, 4)}),
            (LLAMA, {"prompt": f"user {user}", "max_tokens": self.random.randint(1, 60)}),
            ("simulated/slow", {"seconds": self.random.randint(0, 900) / 100 + mark}),
            ("simulated/failing", {"seconds": self.random.randint(0, 300) / 100 + mark}),
            ("simulated/echo", {"value": f"user {user}"}),
        ]
        model, given = self.random.choice(wishes)
        return user, model, given

    def create(self, wish: tuple[int, str, dict[str, Any]]) -> None:
        user, model, given = wish
        began_at = self.clock.now()
        try:
            answer = self.client.post(
                f"{self.served.url}{predictions_of(model)}",
                json={"input": given},
                headers={"Authorization": f"Bearer {self.keys[user]}"},
            )
        except httpx.TransportError:
            self.answers[0] += 1
            self.unsure[user] += 1
            return
        self.answers[answer.status_code] += 1
        self.unsure[user] += answer.status_code >= 500
        if answer.status_code == 201:
            self.running.append((user, answer.json()["id"]))
        elif answer.status_code == 402:
            rule = "predictions" if "predictions per month" in answer.json()["detail"] else "other"
            self.refused[rule].add(user)
            refusal = refusal_of(user, answer.json(), began_at, self.clock.now())
            self.refusals.append(refusal)

    def cancel(self, which: tuple[int, str]) -> None:
        user, made = which
        with contextlib.suppress(httpx.TransportError):
            self.client.post(
                f"{self.served.url}{API}/predictions/{made}/cancel",
                headers={"Authorization": f"Bearer {self.keys[user]}"},
            )

    def spend(self, count: int) -> None:
        """Make predictions until the service has so many, in waves, with things going wrong."""
        faults = (FaultKind.RESET_AFTER, FaultKind.RESET_BEFORE, FaultKind.SERVER_ERROR)
        wave = 0
        with ThreadPoolExecutor(12) as pool:
            while len(self.sim.prediction_ids()) < count and self.answers.total() < count * 1.5:
                wave += 1
                if wave % 4 == 0:
                    kind = self.random.choice(faults)
                    self.sim.faults.add(Fault(kind, "*.create", times=self.random.randint(1, 2)))
                if wave % 5 == 0:
                    self.sim.faults.add(Fault(FaultKind.BARE_ERROR, "predictions.get", times=3))
                wishes = [self.wish() for _ in range(self.random.randint(5, 40))]
                work = [pool.submit(self.create, wish) for wish in wishes]
                if wave % 11 == 7:
                    time.sleep(self.random.random() * 0.1)
                    self.crash()
                self.wait_for(work)
                if wave % 17 == 9:
                    self.restart()
                victims = self.random.sample(self.running, min(3, len(self.running)))
                self.wait_for([pool.submit(self.cancel, victim) for victim in victims])
                self.running.clear()
                self.pass_time(self.random.choice([0.25, 1.0, 3.0]))
        self.sim.faults.clear()

    def come_to_rest(self) -> None:
        """Let everything end: what runs, and what is in doubt."""
        open_ones = (0, 0)
        for _ in range(400):
            self.pass_time(20.0, step=2.0)
            time.sleep(0.02)
            open_ones = self.ledger(
                lambda conn: (
                    len(creates.doubts(conn)) + len(creates.under_way(conn)),
                    len(
                        conn.execute(
                            select(prediction_table.c.id).where(
                                prediction_table.c.settled_at.is_(None)
                            )
                        ).all()
                    ),
                )
            )
            if open_ones == (0, 0):
                return
        raise AssertionError(f"it does not come to rest: {open_ones}")

    def close(self) -> None:
        self.client.close()

        async def stop() -> None:
            self.served.server.should_exit = True
            await self.served.task

        self.while_time_passes(self.loop, stop())
        self.sim_loop.do(self.stack.aclose())
        _KEPT.extend(self.cut)


# Whatever was cut off lies about until the process ends: collecting it would only make noise.
_KEPT: list[tuple[Loop, Served]] = []


@dataclass
class Sum:
    predictions: int = 0
    failed: int = 0
    predict_us: int = 0
    images: int = 0
    tokens: int = 0
    cost_nano: int = 0
    unpriced: int = 0


def expected(sim: Simulator) -> dict[str, Sum]:
    """Add the simulator's own books up, by user."""
    books = {row.id: row for row in sim.usage()}
    sums: defaultdict[str, Sum] = defaultdict(Sum)
    for document in sim.documents():
        row = books[str(document["id"])]
        given = document["input"]
        assert isinstance(given, dict)
        text = given.get("prompt", given.get("value"))
        if isinstance(text, str):
            user = int(text.removeprefix("user "))
        else:
            user = round(float(str(given["seconds"])) * 10_000) % 100
        one = sums[f"user{user}"]
        one.predictions += 1
        one.failed += row.status == "failed"
        one.images += row.images
        one.tokens += row.input_tokens + row.output_tokens
        micros = int((Decimal(repr(row.predict_time)) * 10**6).quantize(Decimal(1), ROUND_HALF_UP))
        one.predict_us += micros
        price = PRICES.get(row.model)
        if price is None:
            one.unpriced += 1
            continue
        cost = price.get("per_second", Decimal(0)) * micros / 10**6
        if row.status == "succeeded":
            cost += price.get("per_image", Decimal(0)) * row.images
            cost += price.get("per_input_token", Decimal(0)) * row.input_tokens
            cost += price.get("per_output_token", Decimal(0)) * row.output_tokens
            cost += price.get("per_prediction", Decimal(0))
        one.cost_nano += int((cost * 10**9).quantize(Decimal(1), ROUND_HALF_UP))
    return dict(sums)


TRUTHS = {
    "predictions": ("est_predictions", "est_predictions"),
    "predict_seconds": ("predict_us", "est_predict_us"),
    "images": ("images", "est_images"),
    "cost_usd": ("cost_nano", "est_cost_nano"),
}
"""By metric: where the truth about a prediction stands, and where what was reserved for it."""


def wrongly_refused(company: Company) -> list[str]:
    """Name each refusal at a time at which the create would have fitted.

    What was taken then is worked out anew, from rows that know nothing of counters: the most that
    it can have been between the request's beginning and its answer.
    """
    limits: dict[tuple[str, bool, tuple[str, ...], int], Decimal] = {
        (quota.metric, shared, tuple(quota.models), number): quota.limit
        for number in range(TEAMS)
        for shared, quotas_ in (
            (False, company.settings.plans["default"].quotas),
            (True, company.settings.teams[f"team{number}"].quotas),
        )
        for quota in quotas_
    }

    def work(conn: Connection) -> list[str]:
        made = [dict(row) for row in conn.execute(select(prediction_table)).mappings()]
        tried = [
            dict(row)
            for row in conn.execute(
                select(create_table).where(create_table.c.state != "recorded")
            ).mappings()
        ]
        found = []
        for one in company.refusals:
            number = one.user % TEAMS
            limit = limits[one.metric, one.shared, one.models, number]
            units = int(limit * _UNITS.get(one.metric, 1))
            truth, estimate = TRUTHS[one.metric]

            def theirs(row: dict[str, Any], one: Refusal = one, number: int = number) -> bool:
                owner = (
                    row["team"] == f"team{number}"
                    if one.shared
                    else row["user_name"] == f"user{one.user}"
                )
                return owner and (not one.models or row["model"] in one.models)

            taken = 0
            for row in made:
                if not theirs(row) or row["charged_at"] > one.ended_at:
                    continue
                amounts = []
                if row["settled_at"] <= one.ended_at:
                    amounts.append(row[truth] or 0)
                if row["settled_at"] >= one.began_at:
                    amounts.append(row[estimate] or 0)
                taken += max(amounts)
            for row in tried:
                over = row["finished_at"] is not None and row["finished_at"] < one.began_at
                if theirs(row) and row["at"] <= one.ended_at and not over:
                    taken += row[estimate] or 0
            if taken + min(one.needed, units) <= units:
                found.append(f"refused though it fitted: {one}, {taken} taken of {units}")
        return found

    return company.ledger(work)


def overruns(company: Company) -> list[str]:
    """Name each budget that was overrun by more than the estimates of what was in flight erred.

    At the last admission, used and estimates were within the limit; what is beyond it in the end
    must be what those that were in flight then took more than was estimated.
    """

    def work(conn: Connection) -> list[str]:
        found = []
        table = prediction_table.c
        truths = {name: (table[truth], table[guess]) for name, (truth, guess) in TRUTHS.items()}
        limits = {counter.key: counter for counter in quotas.counters_at(conn, company.clock.now())}
        policy = company.served.app.settings
        rules: list[tuple[str, Any]] = []
        for n in range(TEAMS):
            rules += [(f"team:team{n}", quota) for quota in policy.teams[f"team{n}"].quotas]
        users = {key[0] for key in limits if key[0].startswith("user:")}
        rules += [(user, quota) for user in users for quota in policy.plans["default"].quotas]
        for subject, quota in rules:
            kind, _, name = subject.partition(":")
            owner = table.team if kind == "team" else table.user_id
            truth, estimate = truths[quota.metric]
            rows = conn.execute(
                select(table.charged_at, table.settled_at, truth, estimate, table.model).where(
                    owner == name
                )
            ).all()
            rows = [row for row in rows if not quota.models or row[4] in quota.models]
            if not rows:
                continue
            last = max(row[0] for row in rows)
            used = sum(row[2] or 0 for row in rows)
            error = sum(max(0, (row[2] or 0) - (row[3] or 0)) for row in rows if row[1] >= last)
            limit = int(quota.limit * _UNITS.get(quota.metric, 1))
            if used > limit + error:
                found.append(f"{subject} {quota.metric}: {used} > {limit} + {error}")
        return found

    return company.ledger(work)


def run(seed: int, count: int, per_user: int, team_usd: float) -> tuple[Outcome, dict[str, Sum]]:
    """Run a company until its users have made so many predictions; return both books."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="company-") as folder:
        company = Company(Path(folder), seed, per_user, team_usd)
        try:
            company.spend(count)
            company.come_to_rest()
            now = company.clock.now()
            usage = company.ledger(
                lambda conn: report(conn, ["user"], since=now - 40 * 86_400, until=now + 1)
            )
            books = expected(company.sim)
            outcome = Outcome(
                made=len(company.sim.prediction_ids()),
                answers=company.answers,
                crashes=len(company.cut),
                restarts=company.restarts,
                seconds=time.monotonic() - begun,
                usage=usage,
                overruns=[*overruns(company), *wrongly_refused(company)],
                refusals=len(company.refusals),
            )
            for user in company.refused["predictions"]:
                made = books[f"user{user}"].predictions
                if not per_user - company.unsure[user] <= made <= per_user:
                    outcome.overruns.append(f"user{user} was refused with {made} of {per_user}")
            company.canary.look_at_folder(company.folder / "data")
            company.canary.look_at_upstream(company.sim.log.entries())
            company.canary.check()
            return outcome, books
        finally:
            company.close()


def differences(outcome: Outcome, books: dict[str, Sum]) -> Iterator[str]:
    """Name everything in which the two books differ."""
    lines = {line.user: line for line in outcome.usage}
    for user, one in sorted(books.items()):
        line = lines.pop(user, None)
        if line is None:
            yield f"{user}: not in the ledger"
            continue
        told = Sum(
            line.predictions,
            line.failed,
            line.predict_us,
            line.images,
            line.tokens_in + line.tokens_out,
            line.cost_nano,
            line.unpriced,
        )
        if told != one:
            yield f"{user}: the ledger says {told}, the simulator {one}"
    yield from (f"{user}: not in the simulator" for user in lines)
