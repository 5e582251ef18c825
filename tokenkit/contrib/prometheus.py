"""Metrics for Prometheus, on its Python client. Needs ``requests-tokenkit[prometheus]``."""

from __future__ import annotations

import math
from typing import final
from weakref import WeakKeyDictionary

from tokenkit.contrib._metrics import COUNTED, LIFETIME, TIMED, MetricsListener
from tokenkit.errors import ConfigurationError
from tokenkit.events import TokenEvent

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.registry import Collector
except ModuleNotFoundError as _error:
    raise ImportError(
        f"PrometheusListener needs the module {_error.name}: pip install 'requests-tokenkit[prometheus]'",
        name=_error.name,
    ) from _error

__all__ = ["PrometheusListener"]

_LABELS = ("service_name", "result", "background")
_FAILURES = "What failed, by the class of its error."
_FAILURE_LABELS = ("service_name", "event", "failure", "status", "error")


@final
class PrometheusListener(MetricsListener):
    """Keeps metrics about tokens in a registry. One serves any number of managers, from any thread.

    * Histograms ``tokenkit_token_acquire_seconds``, ``tokenkit_token_refresh_seconds``,
      ``tokenkit_cache_store_seconds`` and ``tokenkit_cache_refresh_seconds``.
    * Counters ``tokenkit_tokens_total`` (that came to be held), ``tokenkit_cache_hits_total``,
      ``tokenkit_cache_misses_total`` and ``tokenkit_cache_invalidations_total``.
    * The counter ``tokenkit_failures_total``, of what failed, with the labels ``service_name``, ``event`` (the method
      that heard of it), ``failure`` (the class of the error), ``status`` (of HTTP) and ``error`` (the OAuth code);
      empty where there is none.
    * The gauge ``tokenkit_token_lifetime_seconds``: what the newest token had left when it came to be held;
      infinite for one that never expires.

    All others but the gauge, which has the first alone, have the labels ``service_name``, ``result`` (the words of
    :class:`~tokenkit.events.TokenListener`) and ``background`` (``true`` on the renewal thread).

    Several listeners with one registry share its metrics. Make them before threads start.

    Args:
        registry: Where the metrics are. None: the client's default.
        hits: Count ``cache_hit`` too, once for each call of ``get_token``: it takes a lock there, and some time.

    Raises:
        ConfigurationError: The registry has metrics of other makers with these names.

    Example:
        >>> from tokenkit import CallableTokenFetcher, Token, TokenManager
        >>> registry = CollectorRegistry()
        >>> source = CallableTokenFetcher(lambda: Token("not-shown"), name="billing")
        >>> with TokenManager(source, listeners=[PrometheusListener(registry)]) as manager:
        ...     token = manager.get_token()
        >>> registry.get_sample_value(
        ...     "tokenkit_token_lifetime_seconds", {"service_name": "billing"}
        ... )
        inf
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, hits: bool = False) -> None:
        super().__init__(hits=hits, is_default=registry is None)
        self._metrics = _metrics_of(REGISTRY if registry is None else registry)

    def _time(self, name: str, event: TokenEvent) -> None:
        self._metrics.timed[name].labels(*_labels(event)).observe(event.seconds or 0.0)
        failure = event.failure
        if failure is not None:
            facts = (failure.kind, str(failure.status or ""), failure.error or "")
            self._metrics.failures.labels(event.service_name, name, *facts).inc()

    def _count(self, name: str, event: TokenEvent) -> None:
        self._metrics.counted[name].labels(*_labels(event)).inc()

    def _set_lifetime(self, event: TokenEvent) -> None:
        self._metrics.lifetime.labels(event.service_name).set(math.inf if event.seconds is None else event.seconds)


def _labels(event: TokenEvent) -> tuple[str, str, str]:
    return event.service_name, event.result, str(event.background).lower()


@final
class _Metrics:
    """The metrics of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"tokenkit_{name}_seconds", text, _LABELS, registry=None)

        def counter(name: str, text: str) -> Counter:
            return Counter(f"tokenkit_{name}", text, _LABELS, registry=None)

        self.timed = {name: histogram(name, text) for name, text in TIMED.items()}
        self.counted = {name: counter(name, text) for name, text in COUNTED.items()}
        self.failures = Counter("tokenkit_failures", _FAILURES, _FAILURE_LABELS, registry=None)
        self.lifetime = Gauge("tokenkit_token_lifetime_seconds", LIFETIME, ["service_name"], registry=None)
        _register(registry, [*self.timed.values(), *self.counted.values(), self.failures, self.lifetime])


def _register(registry: CollectorRegistry, metrics: list[Collector]) -> None:
    """Put all of *metrics* into *registry*, or none."""
    for number, metric in enumerate(metrics):
        try:
            registry.register(metric)
        except ValueError:
            for registered in metrics[:number]:
                registry.unregister(registered)
            raise ConfigurationError("the registry has metrics of the same names already") from None


def _metrics_of(registry: CollectorRegistry) -> _Metrics:
    found = _known.get(registry)
    if found is None:
        found = _known[registry] = _Metrics(registry)
    return found


_known: WeakKeyDictionary[CollectorRegistry, _Metrics] = WeakKeyDictionary()
