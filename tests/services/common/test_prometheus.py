"""What is measured comes out as Prometheus reads it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from services.common.prometheus import LOGIN_RESULTS, MAX_SERIES, PrometheusObserver
from services.common.streamserver import TurnedAway
from services.common.telemetry import NullObserver, Observer

Key = frozenset[str]


def key(*parts: str) -> Key:
    """A sample's name and the values of its labels, whose order is nobody's business."""
    return frozenset(parts)


def samples(observer: PrometheusObserver) -> dict[Key, float]:
    """Every sample of the page."""
    return {
        key(sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(observer.page().decode())
        for sample in family.samples
    }


def test_everything_an_observer_hears_is_on_the_page() -> None:
    prometheus = PrometheusObserver("1.2")
    observer: Observer = prometheus
    observer.command("imap", "NOOP", "ok", 0.00006)
    observer.command("imap", "NOOP", "ok", 60.0)
    observer.session_limit("imap", 4000)
    observer.session_opened("imap")
    observer.session_opened("imap")
    observer.session_closed("imap")
    observer.session_refused("imap", "address")
    observer.login("imap", "cached")
    observer.traffic("imap").received += 15
    observer.traffic("imap").sent += 20
    observer.store_call("deliver", "OVER_QUOTA", 0.5)
    observer.directory_call("lookup", "unknown", 0.5)
    observer.cache("bodies", True)
    observer.loop_lag(0.25)
    observer.loop_lag(0.125)
    observer.reloaded(False)
    prometheus.watch("commands_running", "Running.", lambda: 7)
    prometheus.watch_each("check_passing", "Passing.", "check", lambda: {"store": 0.0})
    found = samples(prometheus)
    expected = {
        ("mailkeep_command_seconds_count", "imap", "NOOP", "ok"): 2,
        ("mailkeep_command_seconds_sum", "imap", "NOOP", "ok"): 60.00006,
        ("mailkeep_command_seconds_bucket", "imap", "NOOP", "ok", "5e-05"): 0,
        ("mailkeep_command_seconds_bucket", "imap", "NOOP", "ok", "0.0001"): 1,
        ("mailkeep_command_seconds_bucket", "imap", "NOOP", "ok", "30"): 1,
        ("mailkeep_command_seconds_bucket", "imap", "NOOP", "ok", "+Inf"): 2,
        ("mailkeep_sessions", "imap"): 1,
        ("mailkeep_sessions_limit", "imap"): 4000,
        ("mailkeep_sessions_opened_total", "imap"): 2,
        ("mailkeep_sessions_refused_total", "imap", "address"): 1,
        ("mailkeep_logins_total", "imap", "cached"): 1,
        ("mailkeep_received_bytes_total", "imap"): 15,
        ("mailkeep_sent_bytes_total", "imap"): 20,
        ("mailkeep_store_call_seconds_count", "deliver", "OVER_QUOTA"): 1,
        ("mailkeep_directory_call_seconds_count", "lookup", "unknown"): 1,
        ("mailkeep_cache_requests_total", "bodies", "hit"): 1,
        ("mailkeep_event_loop_lag_seconds",): 0.25,
        ("mailkeep_config_reloads_total", "failed"): 1,
        ("mailkeep_config_last_reload_successful",): 0,
        ("mailkeep_commands_running",): 7,
        ("mailkeep_check_passing", "store"): 0,
        ("mailkeep_build_info", "1.2"): 1,
        ("mailkeep_process_info", "", ""): 1,
    }
    assert {key(*parts): value for parts, value in expected.items()}.items() <= found.items()
    assert key("process_resident_memory_bytes") in found
    assert samples(prometheus)[key("mailkeep_event_loop_lag_seconds")] == 0


def test_what_has_not_happened_yet_is_there_as_zero() -> None:
    observer = PrometheusObserver(service="imap")
    observer.session_limit("imap", 4000)
    found = samples(observer)
    assert found[key("mailkeep_command_errors_total", "imap")] == 0
    observer.command("imap", "FETCH", "no", 0.1)
    observer.command("imap", "FETCH", "error", 0.1)
    assert samples(observer)[key("mailkeep_command_errors_total", "imap")] == 1
    assert found[key("mailkeep_sessions", "imap")] == 0
    assert found[key("mailkeep_sessions_opened_total", "imap")] == 0
    for why in TurnedAway:
        assert found[key("mailkeep_sessions_refused_total", "imap", why.value)] == 0
    observer.login("imap", "ok")
    found = samples(observer)
    assert {result: found[key("mailkeep_logins_total", "imap", result)] for result in LOGIN_RESULTS} == {
        result: float(result == "ok") for result in LOGIN_RESULTS
    }


def test_label_sets_are_bounded() -> None:
    observer = PrometheusObserver()
    for number in range(MAX_SERIES + 50):
        observer.command("imap", f"X{number}", "bad", 0.1)
        observer.login("imap", f"reason{number}")
    found = samples(observer)
    assert found[key("mailkeep_command_seconds_count", "other")] == 50
    assert found[key("mailkeep_logins_total", "other")] == 50 + len(LOGIN_RESULTS)


def test_every_observer_hears_the_same() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert methods(NullObserver) == methods(Observer) <= methods(PrometheusObserver)
