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
                    "Top spenders (estimated)",
                    "Estimated cost by user. Models without a price add nothing.",
                    "currencyUSD",
                    (in_range("cost_usd", "user"), "{{user}}"),
                    kind="bars",
                    width=8,
                ),
                panel(
                    "Estimated cost by team",
                    "Estimated cost by team; people without a team have no name here.",
                    "currencyUSD",
                    (in_range("cost_usd", "team"), "{{team}}"),
                    kind="bars",
                    width=8,
                ),
                panel(
                    "Estimated cost by model",
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
                *(
                    panel(
                        f"Images by {label}",
                        f"Images that predictions made, the ten largest by {label}.",
                        "short",
                        (in_range("images", label), f"{{{{{label}}}}}"),
                        kind="bars",
                        width=8,
                    )
                    for label in ("user", "team", "model")
                ),
                *(
                    panel(
                        f"Tokens by {label}",
                        f"Tokens read and written together, the ten largest by {label}.",
                        "short",
                        (in_range("tokens", label), f"{{{{{label}}}}}"),
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
                    "Estimated spend per hour by user",
                    "Estimated cost at the present pace.",
                    "currencyUSD",
                    (f"3600 * {per_second('cost_usd', 'user', WHO)}", "{{user}}"),
                    stacked=True,
                ),
                panel(
                    "Images per minute by model",
                    "Images that predictions made.",
                    "short",
                    (f"60 * {per_second('images', 'model', WHO)}", "{{model}}"),
                    stacked=True,
                ),
                panel(
                    "Tokens per minute",
                    "Tokens that predictions read (input) and wrote (output).",
                    "short",
                    (f"60 * {per_second('tokens', 'direction', WHO)}", "{{direction}}"),
                    stacked=True,
                ),
            ),
        ),
        (
            "Quotas",
            (
                panel(
                    "Quota left",
                    "What is left of each limit in its current window, used and reserved taken "
                    "off, the twenty that are nearest their end: images, tokens, seconds, cost, "
                    "predictions, requests.",
                    "percentunit",
                    (
                        "bottomk(20, clamp_min(1 - max by (user, metric, per) "
                        f'({P}quota_used_ratio{{user=~"$user"}}), 0))',
                        "{{user}}: {{metric}} per {{per}}",
                    ),
                    kind="bars",
                    base="red",
                    thresholds=((0.1, "yellow"), (0.25, "green")),
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
