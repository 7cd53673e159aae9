"""Twenty users, five teams, thousands of predictions, crashes: do the books agree?

    python -m benchmarks.spending [--predictions 10000] [--seed 1]

Prints what happened; ends with 1 if the ledger and the simulated service differ in anything.
"""

import argparse
import os
import sys

from tests.support.spending import differences, run


def main(count: int, seed: int) -> int:
    outcome, books = run(seed, count, per_user=int(count / 20 * 1.2), team_usd=count * 0.0003)
    print(
        f"{outcome.made:,} predictions in {outcome.seconds:.0f} s,"
        f" {outcome.crashes} crashes, {outcome.restarts} restarts"
    )
    print("answers:", dict(sorted(outcome.answers.items())))
    print(f"{outcome.refusals:,} refusals by quotas were held against the books")
    cost = sum(one.cost_nano for one in books.values()) / 1e9
    seconds = sum(one.predict_us for one in books.values()) / 1e6
    print(f"by the service's own books: ${cost:.4f}, {seconds:,.3f} s")
    faults = [*differences(outcome, books), *outcome.overruns]
    for fault in faults:
        print(f"DIFFERS {fault}")
    print("the books agree" if not faults else f"{len(faults)} differences")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    status = main(given.predictions, given.seed)
    sys.stdout.flush()
    # The gateways that were cut off lie about still: an ordinary end would collect them, loudly.
    os._exit(status)
