import copy
import math
import pickle
import re
from pathlib import Path

import pytest
from support import event_log, needs

from tokenkit import AuthenticationError, ConfigurationError, Token, TokenManager
from tokenkit.events import FailureFacts, TokenEvent
from tokenkit.fetchers import CallableTokenFetcher, StaticTokenFetcher
from tokenkit.testing import LocalIdP

prometheus_client = needs.module("prometheus_client")
from tokenkit.contrib.prometheus import PrometheusListener  # noqa: E402  # after the skip

LABELS = {"service_name": "billing", "result": "success", "background": "true"}


@pytest.fixture
def registry() -> object:
    """A registry of the test's own."""
    return prometheus_client.CollectorRegistry()


def samples(registry: object) -> dict[str, float]:
    """Return the sum of all samples by name."""
    found: dict[str, float] = {}
    for family in registry.collect():
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def test_a_managers_life_is_measured(local_idp: LocalIdP, registry: object) -> None:
    """Each of the eight events is a metric, as the Prometheus server would read it."""
    event_log.live(local_idp, PrometheusListener(registry, hits=True))
    found = samples(registry)
    assert 3 == found["tokenkit_token_acquire_seconds_count"] == found["tokenkit_token_refresh_seconds_count"]
    assert 2 == found["tokenkit_tokens_total"] == found["tokenkit_cache_store_seconds_count"]
    assert 3 == found["tokenkit_cache_refresh_seconds_count"] == found["tokenkit_cache_misses_total"]
    assert (1, 1) == (found["tokenkit_cache_hits_total"], found["tokenkit_cache_invalidations_total"])
    assert 3590 < found["tokenkit_token_lifetime_seconds"] <= 3600


def test_labels(registry: object) -> None:
    """A sample says whose token it was, how it ended, and whether on the renewal thread."""
    PrometheusListener(registry).token_refresh(TokenEvent("billing", "success", 0.25, background=True))
    assert 0.25 == registry.get_sample_value("tokenkit_token_refresh_seconds_sum", LABELS)
    line = 'tokenkit_token_refresh_seconds_count{background="true",result="success",service_name="billing"} 1.0'
    assert line in prometheus_client.generate_latest(registry).decode()


def test_a_token_that_never_expires(registry: object) -> None:
    """Its lifetime is infinite."""
    PrometheusListener(registry).token_lifetime(TokenEvent("billing", "fetched"))
    lifetime = registry.get_sample_value("tokenkit_token_lifetime_seconds", {"service_name": "billing"})
    assert math.inf == lifetime


def test_hits_cost_the_hot_path_nothing_unless_counted(registry: object) -> None:
    """A listener that does not count them is not told of them."""
    for hits, counted in ((False, 0.0), (True, 1.0)):
        with TokenManager(StaticTokenFetcher("abc"), listeners=[PrometheusListener(registry, hits=hits)]) as manager:
            manager.get_token()
            manager.get_token()
        assert counted == samples(registry).get("tokenkit_cache_hits_total", 0.0)


def test_listeners_share_a_registry(registry: object) -> None:
    """A second listener with the same registry adds to the same metrics."""
    for _ in range(2):
        PrometheusListener(registry).cache_miss(TokenEvent("billing", "absent"))
    assert 2 == samples(registry)["tokenkit_cache_misses_total"]


def test_a_foreign_metric_of_the_same_name(registry: object) -> None:
    """It gives a clear error, and leaves nothing half registered behind."""
    theirs = prometheus_client.Counter("tokenkit_cache_misses", "theirs", registry=registry)
    with pytest.raises(ConfigurationError, match="same names"):
        PrometheusListener(registry)
    registry.unregister(theirs)
    assert {} == samples(registry)
    PrometheusListener(registry)


def test_copies_report_to_the_same_place(registry: object) -> None:
    """A copied manager's listener is the same; a pickled one is made anew, for the default registry only."""
    listener = PrometheusListener(registry)
    assert listener is copy.copy(listener) is copy.deepcopy(listener)
    with pytest.raises(TypeError, match="process-wide default"):
        pickle.dumps(listener)
    default = PrometheusListener(hits=True)
    before = samples(prometheus_client.REGISTRY).get("tokenkit_cache_hits_total", 0.0)
    pickle.loads(pickle.dumps(default)).cache_hit(TokenEvent("billing", "fresh"))
    assert before + 1 == samples(prometheus_client.REGISTRY)["tokenkit_cache_hits_total"]


def test_failures_are_counted_by_kind(registry: object) -> None:
    """An outage and a wrong secret are two series."""
    listener = PrometheusListener(registry)
    refused = FailureFacts("TokenEndpointError", 401, "invalid_client")
    for failure in (FailureFacts("TransportError"), refused, refused):
        listener.token_refresh(TokenEvent("billing", "error", 0.25, failure=failure))
    labels = {
        "service_name": "billing",
        "event": "token_refresh",
        "failure": "TransportError",
        "status": "",
        "error": "",
    }
    assert 1 == registry.get_sample_value("tokenkit_failures_total", labels)
    labels |= {"failure": "TokenEndpointError", "status": "401", "error": "invalid_client"}
    assert 2 == registry.get_sample_value("tokenkit_failures_total", labels)


def test_the_rules_to_alert_by_are_of_metrics_that_there_are(
    local_idp: LocalIdP, registry: object, repository: Path
) -> None:
    """Each name of a metric and of its labels in the example is one that a program has."""
    event_log.live(local_idp, PrometheusListener(registry, hits=True))

    def refuse() -> Token:
        raise AuthenticationError("no")

    with (
        TokenManager(
            CallableTokenFetcher(refuse, name="billing"), listeners=[PrometheusListener(registry)], background=False
        ) as manager,
        pytest.raises(AuthenticationError),
    ):
        manager.get_token()
    known = {sample.name: set(sample.labels) for family in registry.collect() for sample in family.samples}
    rules = re.findall(
        r"(tokenkit_\w+)\{(.*?)\}\[", (repository / "examples/alerts.yml").read_text(encoding="utf-8"), re.DOTALL
    )
    assert 6 == len(rules)
    for metric, conditions in rules:
        assert set(re.findall(r"(\w+)=", conditions)) < known[metric], metric
