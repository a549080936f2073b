"""The queries of a Grafana dashboard, as Prometheus is asked them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

BUILT_IN = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h"}
"""Grafana's own variables, for a scrape every 15 s and an hour shown."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels that show something, also those in rows that are folded."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels") or ()
        else:
            yield panel


def queries(dashboard: Mapping[str, Any], variables: Mapping[str, str]) -> list[tuple[str, str]]:
    """Title of the panel and PromQL of each of its queries, with the variables in place.

    `variables` are the dashboard's own, by name without the dollar; they may also set Grafana's: `__rate_interval`,
    `__interval`, `__range`. Raises KeyError for a variable that has no value.
    """
    values = BUILT_IN | dict(variables)
    return [
        (panel["title"], _VARIABLE.sub(lambda found: values[found[1] or found[2]], target["expr"]))
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]
