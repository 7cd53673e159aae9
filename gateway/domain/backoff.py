"""How long to wait before the next look at a prediction, or the next attempt at a webhook."""

from typing import Literal

Kind = Literal["prediction", "training"]

# (shortest, part of the age, longest), in seconds: wait that part of the age, within those bounds.
#
#                          watched                     not watched
#   age of a prediction    next look after             next look after
#   0 s … 10 s             0.5 s                       1 s
#   1 min                  2.1 s                       6 s
#   5 min                  5 s                         30 s
#   1 h and more           5 s                         60 s
#   age of a training
#   0 s … 40 s             1.5 s                       15 s
#   10 min                 21 s                        60 s
#   1 h and more           120 s                       300 s
_TABLE: dict[tuple[Kind, bool], tuple[float, float, float]] = {
    ("prediction", True): (0.5, 0.035, 5.0),
    ("prediction", False): (1.0, 0.10, 60.0),
    ("training", True): (1.5, 0.035, 120.0),
    ("training", False): (15.0, 0.10, 300.0),
}

_FIRST_RETRY = 5.0
_GROWTH = 3.0
_LONGEST_RETRY = 6 * 3600.0


def next_look_after(
    age_s: float, watched: bool, kind: Kind = "prediction", shortest_s: float = 0.0
) -> float:
    """Return seconds until the next look at something that runs since `age_s` seconds.

    The delay grows with the age, so that an end is noticed late by a small part of what it took:
    10 %, or less if somebody is waiting (`watched`), both bounded. Then two looks are at most two
    seconds or 5 % of the age apart, half a second for noticing that one is due included.
    `shortest_s` is the poll interval that the operator has set: no look comes earlier.
    """
    least, part, most = _TABLE[kind, watched]
    return max(shortest_s, min(most, max(least, part * age_s)))


def webhook_delay(attempt: int, random: float) -> float:
    """Return seconds to wait after the failed attempt number `attempt` (the first is 1).

    Five seconds, then three times as long each time up to six hours, times a factor between 0.75
    and 1.25 made of `random` in [0, 1), so that many failed deliveries do not come back together.
    """
    # An exponent that could overflow is cut: the bound has long been reached.
    delay = min(_LONGEST_RETRY, _FIRST_RETRY * _GROWTH ** min(max(attempt, 1) - 1, 30))
    return delay * (0.75 + 0.5 * random)
