"""The second: who uses what, and what is left?"""

from grafana.description import WHO, Board, P, in_range, panel, per_second

USAGE = Board(
    "replicate-gateway-usage",
    "Replicate gateway: Usage",
    "Who uses what, and what is left?",
    ("user", "team", "model"),
    (
        (
            "In the range that is shown",
            (
                panel(
                    "Top spenders",
                    "Estimated cost by user. Models without a price add nothing.",
                    "currencyUSD",
                    (in_range("cost_usd", "user"), "{{user}}"),
                    kind="bars",
                    width=8,
                ),
                panel(
                    "Cost by team",
                    "Estimated cost by team; people without a team have no name here.",
                    "currencyUSD",
                    (in_range("cost_usd", "team"), "{{team}}"),
                    kind="bars",
                    width=8,
                ),
                panel(
                    "Cost by model",
                    "Estimated cost by the model that was asked for.",
                    "currencyUSD",
                    (in_range("cost_usd", "model"), "{{model}}"),
                    kind="bars",
                    width=8,
                ),
                *(
                    panel(
                        f"Predictions by {label}",
                        f"Predictions and trainings that ended, the ten largest by {label}.",
                        "short",
                        (in_range("predictions", label), f"{{{{{label}}}}}"),
                        kind="bars",
                        width=8,
                    )
                    for label in ("user", "team", "model")
                ),
                *(
                    panel(
                        f"Prediction time by {label}",
                        f"Prediction time as Replicate measured it, the ten largest by {label}.",
                        "s",
                        (in_range("predict_seconds", label), f"{{{{{label}}}}}"),
                        kind="bars",
                        width=8,
                    )
                    for label in ("user", "team", "model")
                ),
            ),
        ),
        (
            "Over time",
            (
                panel(
                    "Predictions per minute by user",
                    "Predictions and trainings that ended.",
                    "short",
                    (f"60 * {per_second('predictions', 'user', WHO)}", "{{user}}"),
                    stacked=True,
                ),
                panel(
                    "Spend per hour by user",
                    "Estimated cost at the present pace.",
                    "currencyUSD",
                    (f"3600 * {per_second('cost_usd', 'user', WHO)}", "{{user}}"),
                    stacked=True,
                ),
            ),
        ),
        (
            "Quotas",
            (
                panel(
                    "Quotas used",
                    "Used and reserved part of each limit in its current window, the twenty "
                    "fullest: images, tokens, seconds, cost, predictions, requests.",
                    "percentunit",
                    (
                        f"topk(20, max by (user, metric, per) "
                        f'({P}quota_used_ratio{{user=~"$user"}}))',
                        "{{user}}: {{metric}} per {{per}}",
                    ),
                    kind="bars",
                    thresholds=((0.75, "yellow"), (0.9, "red")),
                    highest=1,
                ),
                panel(
                    "Running by user",
                    "Predictions and trainings that have not ended.",
                    "short",
                    (f'max by (user) ({P}predictions_in_flight{{user=~"$user"}})', "{{user}}"),
                ),
            ),
        ),
    ),
)
