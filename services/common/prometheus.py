"""The Observer that Prometheus scrapes.

What is measured for each command ends in a few plain numbers (below a microsecond); the families of prometheus-client
are made out of them when somebody asks. Names, labels and buckets are all in this file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from time import time
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from services.common.directory import LoginRefusal
from services.common.door import PROXY, TurnedAway
from services.common.telemetry import Traffic

PREFIX: Final = "mailkeep_"
BUCKETS: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
BOUNDS: Final = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
MAX_SERIES: Final = 1000
"""Different label sets of one metric; more are counted under `other`, so that no fault can fill the memory."""
OTHER: Final = "other"

Labels = tuple[str, ...]


class Histogram:
    """Counts by bucket, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """As Prometheus has them: what is at or below each bound."""
        return list(zip(BOUNDS, accumulate(self.counts), strict=True))


class _Histograms(dict[Labels, Histogram]):
    """One for each label set, made when it is first seen."""

    def __missing__(self, labels: Labels) -> Histogram:
        if len(self) >= MAX_SERIES:
            labels = (OTHER,) * len(labels)
            if labels in self:
                return self[labels]
        self[labels] = found = Histogram()
        return found


class PrometheusObserver:
    """Implements `services.common.telemetry.Observer`; also a prometheus-client collector."""

    def __init__(self, version: str = "", service: str = "", data: str = "") -> None:
        """`service` and the folder `data` say whose metrics they are, to `mailkeep status` among others."""
        self._version = version
        self._service = service
        self._data = data
        self._commands = _Histograms()
        self._store_calls = _Histograms()
        self._ldap_calls = _Histograms()
        self._directory_calls = _Histograms()
        self._dns_lookups = _Histograms()
        self._counters: dict[str, dict[Labels, int]] = {name: {} for name in _COUNTERS}
        if service:
            self._begin("command_errors", (service,))
        for result in ("sent", "lost"):
            self._begin("trace_spans", (result,))
        self._sessions: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        self._traffic: dict[str, Traffic] = {}
        self._watched: list[tuple[str, str, Callable[[], float]]] = []
        self._watched_each: list[tuple[str, str, str, Callable[[], Mapping[str, float]]]] = []
        self._lag = 0.0
        self._last_reload_ok = True
        self._last_reload = time()
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(self)

    # ---- Observer ---------------------------------------------------------------------------------------------------
    def command(self, service: str, name: str, result: str, seconds: float) -> None:
        """See `Observer.command`."""
        histogram = self._commands[service, name, result]
        histogram.counts[bisect_left(BUCKETS, seconds)] += 1
        histogram.total += seconds
        if result == "error":
            self._count("command_errors", (service,))

    def session_opened(self, service: str) -> None:
        """See `Observer.session_opened`."""
        self._sessions[service] = self._sessions.get(service, 0) + 1
        self._count("sessions_opened", (service,))

    def session_closed(self, service: str) -> None:
        """See `Observer.session_closed`."""
        self._sessions[service] = self._sessions.get(service, 0) - 1

    def session_refused(self, service: str, reason: str) -> None:
        """See `Observer.session_refused`."""
        self._count("sessions_refused", (service, reason))

    def session_limit(self, service: str, limit: int) -> None:
        """See `Observer.session_limit`. From here on all that is counted of the service's clients is there, as 0."""
        self._limits[service] = limit
        self._sessions.setdefault(service, 0)
        self._begin("sessions_opened", (service,))
        for why in (*(each.value for each in TurnedAway), PROXY):
            self._begin("sessions_refused", (service, why))

    def login(self, service: str, result: str) -> None:
        """See `Observer.login`. A rate misses the sample that a counter begins with, so all results begin together."""
        if (service, LOGGED_IN[0]) not in self._counters["logins"]:
            for known in LOGIN_RESULTS:
                self._begin("logins", (service, known))
            for counter in ("logins_delayed", "bans"):
                self._begin(counter, (service,))
            for answer in DNS_RESULTS:
                self._dns_lookups[(answer,)]
        self._count("logins", (service, result))

    def dns_lookup(self, result: str, seconds: float) -> None:
        """See `Observer.dns_lookup`."""
        self._dns_lookups[(result,)].observe(seconds)

    def banned(self, service: str) -> None:
        """See `Observer.banned`."""
        self._count("bans", (service,))

    def login_delayed(self, service: str) -> None:
        """See `Observer.login_delayed`."""
        self._count("logins_delayed", (service,))

    def traffic(self, service: str) -> Traffic:
        """See `Observer.traffic`."""
        return self._traffic.setdefault(service, Traffic())

    def store_call(self, method: str, result: str, seconds: float) -> None:
        """See `Observer.store_call`."""
        self._store_calls[method, result].observe(seconds)

    def ldap_call(self, operation: str, result: str, seconds: float) -> None:
        """See `Observer.ldap_call`."""
        self._ldap_calls[operation, result].observe(seconds)

    def directory_call(self, operation: str, result: str, seconds: float) -> None:
        """See `Observer.directory_call`."""
        self._directory_calls[operation, result].observe(seconds)

    def cache(self, name: str, hit: bool) -> None:
        """See `Observer.cache`."""
        self._count("cache_requests", (name, "hit" if hit else "miss"))

    def reloaded(self, ok: bool) -> None:
        """See `Observer.reloaded`."""
        self._count("config_reloads", ("ok" if ok else "failed",))
        self._last_reload_ok = ok
        if ok:
            self._last_reload = time()

    def loop_lag(self, seconds: float) -> None:
        """See `Observer.loop_lag`. The largest since the last scrape is kept."""
        self._lag = max(self._lag, seconds)

    def spans(self, result: str, count: int) -> None:
        """Spans of traces were sent, or lost. Called by one thread alone."""
        counts = self._counters["trace_spans"]
        counts[result,] = counts.get((result,), 0) + count

    # ---- for whoever runs the process -------------------------------------------------------------------------------
    def watch(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        self._watched.append((name, documentation, read))

    def watch_each(self, name: str, documentation: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Gauges that are read when they are asked for: a value for each value of `label`."""
        self._watched_each.append((name, documentation, label, read))

    def page(self) -> bytes:
        """The text that Prometheus reads. May run in a thread."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """prometheus-client's Collector. Copies are taken in one step each, since the event loop goes on counting."""
        yield from self._histograms()
        for name, (documentation, labels) in _COUNTERS.items():
            yield _counter(name, documentation, labels, list(self._counters[name].items()))
        traffic = list(self._traffic.items())
        received = [((service,), each.received) for service, each in traffic]
        sent = [((service,), each.sent) for service, each in traffic]
        yield _counter("received_bytes", "Bytes from clients, before TLS.", ("service",), received)
        yield _counter("sent_bytes", "Bytes to clients, before TLS.", ("service",), sent)
        yield from self._gauges()

    def _histograms(self) -> Iterator[Metric]:
        for name, documentation, labels, found in (
            (
                "command_seconds",
                "Time from a command of a client (or a call to the store) to its answer.",
                _COMMAND_LABELS,
                self._commands,
            ),
            (
                "store_call_seconds",
                "Time of a call to the store as the front end sees it, waits and repeats included.",
                _CALL_LABELS,
                self._store_calls,
            ),
            ("ldap_call_seconds", "Questions to the LDAP directory, with their wait.", _ASKED_LABELS, self._ldap_calls),
            (
                "directory_call_seconds",
                "Time of a question to the directory.",
                _DIRECTORY_LABELS,
                self._directory_calls,
            ),
            ("dns_lookup_seconds", "Time to find the host name of an address.", ("result",), self._dns_lookups),
        ):
            family = HistogramMetricFamily(PREFIX + name, documentation, labels=labels)
            for values, histogram in list(found.items()):
                family.add_metric(values, histogram.cumulative(), histogram.total)
            yield family

    def _gauges(self) -> Iterator[Metric]:
        sessions = GaugeMetricFamily(f"{PREFIX}sessions", "Clients that are connected.", labels=["service"])
        limits = GaugeMetricFamily(
            f"{PREFIX}sessions_limit", "Clients that may be connected to this process.", labels=["service"]
        )
        for family, found in ((sessions, self._sessions), (limits, self._limits)):
            for service, number in list(found.items()):
                family.add_metric([service], number)
            yield family
        build = GaugeMetricFamily(f"{PREFIX}build_info", "The version that runs.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        process = GaugeMetricFamily(
            f"{PREFIX}process_info", "Which service it is, and its data folder.", labels=["service", "data"]
        )
        process.add_metric([self._service, self._data], 1)
        yield process
        lag, self._lag = self._lag, 0.0
        for name, documentation, value in (
            ("event_loop_lag_seconds", "How late a timer ran at worst since the last scrape.", lag),
            (
                "config_last_reload_successful",
                "Whether the last reload of the configuration worked.",
                float(self._last_reload_ok),
            ),
            (
                "config_last_reload_success_timestamp_seconds",
                "When a reload of the configuration last worked.",
                self._last_reload,
            ),
            *((name, documentation, read()) for name, documentation, read in self._watched),
        ):
            yield GaugeMetricFamily(PREFIX + name, documentation, value=value)
        for name, documentation, label, read in self._watched_each:
            family = GaugeMetricFamily(PREFIX + name, documentation, labels=[label])
            for label_value, value in read().items():
                family.add_metric([label_value], value)
            yield family

    def _begin(self, name: str, labels: Labels) -> None:
        counts = self._counters[name]
        if len(counts) < MAX_SERIES:
            counts.setdefault(labels, 0)

    def _count(self, name: str, labels: Labels) -> None:
        counts = self._counters[name]
        if labels not in counts and len(counts) >= MAX_SERIES:
            labels = (OTHER,) * len(labels)
        counts[labels] = counts.get(labels, 0) + 1


LOGGED_IN: Final = ("ok", "cached")
LOGIN_RESULTS: Final = (*LOGGED_IN, "unavailable", "throttled", *(refusal.value for refusal in LoginRefusal))
DNS_RESULTS: Final = ("named", "unnamed", "spoofed", "unavailable")
_DIRECTORY_LABELS: Final = ("operation", "result")
_COMMAND_LABELS: Final = ("service", "command", "result")
_CALL_LABELS: Final = ("method", "result")
_ASKED_LABELS: Final = ("operation", "result")
_COUNTERS: Final[dict[str, tuple[str, Labels]]] = {
    "logins_delayed": ("Logins that waited because earlier ones from their address failed.", ("service",)),
    "bans": ("Addresses that were shut out because of their failed logins.", ("service",)),
    "command_errors": ("Commands that ended as error; from 0 on, so that no alert misses the first.", ("service",)),
    "sessions_opened": ("Clients that were let in.", ("service",)),
    "sessions_refused": ("Clients that were turned away.", ("service", "reason")),
    "logins": ("Logins that ended.", ("service", "result")),
    "cache_requests": ("Questions to a cache.", ("cache", "result")),
    "trace_spans": ("Spans of traces, by whether the collector took them.", ("result",)),
    "config_reloads": ("Reloads of the configuration.", ("result",)),
}


def _counter(name: str, documentation: str, labels: Labels, values: Iterable[tuple[Labels, int]]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, documentation, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family
