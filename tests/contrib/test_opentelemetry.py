import copy
import pickle
from collections.abc import Iterator

import pytest
from support import event_log, needs

from tokenkit.events import FailureFacts, TokenEvent
from tokenkit.testing import LocalIdP

needs.module("opentelemetry.sdk.metrics")
from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402  # after the skip
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

from tokenkit.contrib.opentelemetry import OpenTelemetryListener  # noqa: E402


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """What reads the metrics of the test's own provider."""
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    """A provider of the test's own."""
    made = MeterProvider([reader], shutdown_on_exit=False)
    yield made
    made.shutdown()


def points(reader: InMemoryMetricReader) -> dict[str, list]:
    """Return the data points of each instrument."""
    data = reader.get_metrics_data()
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    return {metric.name: list(metric.data.data_points) for metric in metrics}


def test_a_managers_life_is_measured(
    local_idp: LocalIdP, provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    """Each of the eight events is a measurement, as an exporter would get it."""
    event_log.live(local_idp, OpenTelemetryListener(provider, hits=True))
    found = points(reader)
    durations = {name: sum(point.count for point in some) for name, some in found.items() if "duration" in name}
    counts = {name: sum(point.value for point in some) for name, some in found.items() if "duration" not in name}
    lifetime = counts.pop("tokenkit.token.lifetime")
    assert 3590 < lifetime <= 3600
    named = {"token_acquire": 3, "token_refresh": 3, "cache_store": 2, "cache_refresh": 3}
    assert {f"tokenkit.{name}.duration": count for name, count in named.items()} == durations
    named = {"tokens": 2, "cache_hits": 1, "cache_misses": 3, "cache_invalidations": 1}
    assert {f"tokenkit.{name}": count for name, count in named.items()} == counts


def test_attributes(provider: MeterProvider, reader: InMemoryMetricReader) -> None:
    """A measurement says whose token it was, how it ended, and whether on the renewal thread."""
    OpenTelemetryListener(provider).token_refresh(TokenEvent("billing", "success", 0.25, background=True))
    (point,) = points(reader)["tokenkit.token_refresh.duration"]
    assert {"service_name": "billing", "result": "success", "background": True} == dict(point.attributes)
    assert (0.25, 1) == (point.sum, point.count)


def test_a_token_that_never_expires(
    provider: MeterProvider, reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted; its lifetime is not measured, and nothing complains of infinity."""
    OpenTelemetryListener(provider).token_lifetime(TokenEvent("billing", "fetched"))
    assert {"tokenkit.tokens"} == set(points(reader))
    assert [] == caplog.messages


def test_listeners_share_a_provider(
    provider: MeterProvider, reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    """A second listener with the same provider is harmless: all measurements arrive, and nothing complains."""
    for _ in range(2):
        OpenTelemetryListener(provider).cache_miss(TokenEvent("billing", "absent"))
    assert 2 == sum(point.value for point in points(reader)["tokenkit.cache_misses"])
    assert [] == caplog.messages


def test_copies_report_to_the_same_place(provider: MeterProvider) -> None:
    """A copied manager's listener is the same; a pickled one is made anew, for the default provider only."""
    listener = OpenTelemetryListener(provider)
    assert listener is copy.copy(listener) is copy.deepcopy(listener)
    with pytest.raises(TypeError, match="process-wide default"):
        pickle.dumps(listener)
    pickle.loads(pickle.dumps(OpenTelemetryListener(hits=True))).cache_hit(TokenEvent("billing", "fresh"))


def test_a_failure_says_its_kind(provider: MeterProvider, reader: InMemoryMetricReader) -> None:
    """By the attribute that OpenTelemetry has for it."""
    failure = FailureFacts("TokenEndpointError", 401, "invalid_client")
    OpenTelemetryListener(provider).token_refresh(TokenEvent("billing", "error", 0.25, failure=failure))
    (point,) = points(reader)["tokenkit.token_refresh.duration"]
    facts = {"error.type": "TokenEndpointError", "http.response.status_code": 401, "error": "invalid_client"}
    assert facts.items() <= dict(point.attributes).items()


def test_an_attempt_is_a_span(provider: MeterProvider) -> None:
    """It lasts as long as the attempt did, says why, and how it failed."""
    spans = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    listener = OpenTelemetryListener(provider, tracer_provider=tracers)
    listener.token_refresh(TokenEvent("billing", "success", 0.25, reason="due"))
    listener.token_refresh(
        TokenEvent("billing", "error", 2.0, reason="expired", failure=FailureFacts("TransportError"))
    )
    good, bad = spans.get_finished_spans()
    assert ("tokenkit.renew", "due", True) == (good.name, good.attributes["reason"], good.status.is_ok)
    assert 0.25 == pytest.approx((good.end_time - good.start_time) / 1e9, abs=0.001)
    assert ("TransportError", False) == (bad.attributes["error.type"], bad.status.is_ok)
