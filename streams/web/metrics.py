"""The node's status as Prometheus metrics, read when somebody asks."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_LINK_COUNTERS = ("units", "raw_bytes", "encoded_bytes", "wire_bytes", "sessions", "rewinds")
_FLOW_COUNTERS = {
    "key_units": "Units that refer to nothing before them",
    "delta_units": "Units against what both ends hold",
    "dictionary_hits": "Units that a dictionary helped",
    "baseline_refreshes": "Units that name a base",
    "nacks": "Epochs refused",
    "forgotten": "Entities forgotten because memory was full",
    "window_restarts": "Units before which the window was emptied, for another zstd level",
}
_CHOICE_COUNTERS = {
    "choices": ("choices", "why", "Units by the reason for their level"),
    "zstd_units": ("zstd_levels", "level", "Units by the level of zstd in the window"),
}
_LEVEL_COUNTERS = {
    "units": "units",
    "raw_bytes": "raw_bytes",
    "encoded_bytes": "encoded_bytes",
    "cpu_s": "cpu_seconds",
}


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
        tls = status["encryption"]["tls"]
        if tls is not None:
            yield GaugeMetricFamily(
                "dwcp_certificate_expires_seconds", "Until ours ends", tls["expires_in_s"]
            )
        ownership = status["ownership"]
        yield GaugeMetricFamily(
            "dwcp_partitions_held", "Partitions this node holds", len(ownership["holds"])
        )
        trouble = GaugeMetricFamily(
            "dwcp_partition_trouble",
            "1 for each that it cannot hold",
            labels=["partition", "reason"],
        )
        for partition, found in ownership["troubles"].items():
            trouble.add_metric([partition, found["reason"]], 1)
        yield trouble
        lag = GaugeMetricFamily("dwcp_lag_offsets", "Known to a peer, not here", labels=["origin"])
        for origin, offsets in status["lag"].items():
            lag.add_metric([origin], offsets)
        yield lag
        yield from _visible(status["visible_ms"])
        yield from _links(status["links_out"])
        yield from _flows(status)
        yield from _baselines(status["baselines"])

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
    rate = GaugeMetricFamily("dwcp_link_rate_bytes", "A second, that it can carry", labels=labels)
    for link in links:
        rate.add_metric([link[label] for label in labels], link["rate_bytes_s"])
        up.add_metric([link[label] for label in labels], link["state"] in ("up", "path"))
        if link["rtt_ms"] is not None:
            rtt.add_metric([link[label] for label in labels], link["rtt_ms"])
    yield up
    yield rtt
    yield rate
    for name in _LINK_COUNTERS:
        counter = CounterMetricFamily(f"dwcp_link_{name}", f"{name} of the link", labels=labels)
        for link in links:
            counter.add_metric([link[label] for label in labels], link[name])
        yield counter


def _flows(status: dict[str, Any]) -> Iterator[Metric]:
    """Count what HDE did, by peer, direction and topic; bytes by level, too."""
    labels = ["peer", "direction", "topic"]
    flows = [
        ([link["peer"], direction, topic], flow)
        for direction, name in (("out", "links_out"), ("in", "links_in"))
        for link in status[name]
        for topic, flow in link["flows"].items()
    ]
    for name, text in _FLOW_COUNTERS.items():
        counter = CounterMetricFamily(f"dwcp_hde_{name}", text, labels=labels)
        for values, count in _summed((values, flow[name]) for values, flow in flows):
            counter.add_metric(values, count)
        yield counter
    for name, unit in _LEVEL_COUNTERS.items():
        text = f"{unit} by level of the encoding"
        counter = CounterMetricFamily(f"dwcp_hde_level_{unit}", text, labels=[*labels, "level"])
        by_level = (
            ([*values, level], one[name])
            for values, flow in flows
            for level, one in flow["levels"].items()
        )
        for values, count in _summed(by_level):
            counter.add_metric(values, count)
        yield counter
    for name, (key, label, text) in _CHOICE_COUNTERS.items():
        counter = CounterMetricFamily(f"dwcp_hde_{name}", text, labels=[*labels, label])
        by_choice = (
            ([*values, one], count) for values, flow in flows for one, count in flow[key].items()
        )
        for values, count in _summed(by_choice):
            counter.add_metric(values, count)
        yield counter


def _baselines(baselines: dict[str, Any]) -> Iterator[Metric]:
    held = GaugeMetricFamily("dwcp_hde_held_bytes", "Baselines held", labels=["region"])
    sizes = (([one["region"]], one["bytes"]) for one in baselines["held"])
    for values, count in _summed(sizes):
        held.add_metric(values, count)
    yield held


def _summed(counts: Iterable[tuple[list[str], float]]) -> Iterator[tuple[list[str], float]]:
    """Add up what has the same labels: a peer may have several nodes and addresses."""
    sums: dict[tuple[str, ...], float] = {}
    for values, count in counts:
        sums[tuple(values)] = sums.get(tuple(values), 0) + count
    return ((list(values), count) for values, count in sums.items())
