"""The node's status as Prometheus metrics, read when somebody asks."""

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_LINK_COUNTERS = ("units", "raw_bytes", "encoded_bytes", "sessions", "rewinds")


class StatusCollector(Collector):
    """Turns `/status` into metrics; the hot path counts nothing twice.

    Args:
        status: Returns the node's status as JSON values.
    """

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        status = self._status()
        yield GaugeMetricFamily("dwcp_entities", "Entities readers see", status["entities"])
        yield GaugeMetricFamily("dwcp_uptime_seconds", "Since the start", status["uptime_s"])
        for name, help_text, label, values in (
            ("changes_folded", "Changes handled", "origin", status["changes_folded"]),
            ("duplicates", "Records met again and ignored", "origin", status["duplicates"]),
            ("deadletters", "Dead letters written", "reason", status["deadletters"]),
            ("contradictions", "Same vector, other state", "peer", status["contradictions"]),
            (
                "refused_requests",
                "Over HTTP, without the right",
                "reason",
                status["refused_requests"],
            ),
            ("refused_connections", "Turned away", "reason", status["refused_connections"]),
        ):
            counter = CounterMetricFamily(f"dwcp_{name}", help_text, labels=[label])
            for key, value in values.items():
                counter.add_metric([key], value)
            yield counter
        lag = GaugeMetricFamily("dwcp_lag_offsets", "Known to a peer, not here", labels=["origin"])
        for origin, offsets in status["lag"].items():
            lag.add_metric([origin], offsets)
        yield lag
        yield from _visible(status["visible_ms"])
        yield from _links(status["links_out"])

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: names are known only from a live node."""
        return iter(())


def _visible(visible: dict[str, Any]) -> Iterator[Metric]:
    gauge = GaugeMetricFamily(
        "dwcp_visible_milliseconds", "Produce to visible, other regions", labels=["quantile"]
    )
    gauge.add_metric(["0.5"], visible["p50"])
    gauge.add_metric(["0.99"], visible["p99"])
    yield gauge


def _links(links: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = ["peer", "address"]
    up = GaugeMetricFamily("dwcp_link_up", "1 when the session stands", labels=labels)
    rtt = GaugeMetricFamily("dwcp_link_rtt_milliseconds", "Round trip", labels=labels)
    for link in links:
        up.add_metric([link[label] for label in labels], link["state"] == "up")
        if link["rtt_ms"] is not None:
            rtt.add_metric([link[label] for label in labels], link["rtt_ms"])
    yield up
    yield rtt
    for name in _LINK_COUNTERS:
        counter = CounterMetricFamily(f"dwcp_link_{name}", f"{name} of the link", labels=labels)
        for link in links:
            counter.add_metric([link[label] for label in labels], link[name])
        yield counter
