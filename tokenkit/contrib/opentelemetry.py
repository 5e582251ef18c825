"""Metrics for OpenTelemetry, on its API. Needs ``requests-tokenkit[opentelemetry]``; an SDK sends them on."""

from __future__ import annotations

from typing import final

from opentelemetry.metrics import MeterProvider, get_meter

from tokenkit.contrib._metrics import COUNTED, LIFETIME, TIMED, MetricsListener
from tokenkit.events import TokenEvent

__all__ = ["OpenTelemetryListener"]


@final
class OpenTelemetryListener(MetricsListener):
    """Measures tokens with the meter ``tokenkit``. One serves any number of managers, from any thread.

    * Histograms, in seconds: ``tokenkit.token_acquire.duration``, ``tokenkit.token_refresh.duration``,
      ``tokenkit.cache_store.duration`` and ``tokenkit.cache_refresh.duration``.
    * Counters: ``tokenkit.tokens`` (that came to be held), ``tokenkit.cache_hits``, ``tokenkit.cache_misses`` and
      ``tokenkit.cache_invalidations``.
    * The gauge ``tokenkit.token.lifetime``, in seconds: what the newest token had left when it came to be held. It says
      nothing of a token that never expires, since OpenTelemetry takes no infinity.

    All but the gauge, which has the first alone, have the attributes ``service_name``, ``result`` (the words of
    :class:`~tokenkit.events.TokenListener`) and ``background`` (whether on the renewal thread).

    Args:
        meter_provider: Whose meter it is. None: the provider that the program has set, or sets later.
        hits: Count ``cache_hit`` too, once for each call of ``get_token``, which takes some time.

    Example:
        >>> from tokenkit import CallableTokenFetcher, Token, TokenManager
        >>> source = CallableTokenFetcher(lambda: Token("not-shown"), name="billing")
        >>> with TokenManager(source, listeners=[OpenTelemetryListener()]) as manager:
        ...     token = manager.get_token()  # measured by the provider that the program has set
    """

    def __init__(self, meter_provider: MeterProvider | None = None, *, hits: bool = False) -> None:
        super().__init__(hits=hits, is_default=meter_provider is None)
        meter = get_meter("tokenkit", meter_provider=meter_provider)
        self._timed = {
            name: meter.create_histogram(f"tokenkit.{name}.duration", "s", text) for name, text in TIMED.items()
        }
        self._counted = {name: meter.create_counter(f"tokenkit.{name}", "1", text) for name, text in COUNTED.items()}
        self._lifetime = meter.create_gauge("tokenkit.token.lifetime", "s", LIFETIME)

    def _time(self, name: str, event: TokenEvent) -> None:
        self._timed[name].record(event.seconds or 0.0, _attributes(event))

    def _count(self, name: str, event: TokenEvent) -> None:
        self._counted[name].add(1, _attributes(event))

    def _set_lifetime(self, event: TokenEvent) -> None:
        if event.seconds is not None:
            self._lifetime.set(event.seconds, {"service_name": event.service_name})


def _attributes(event: TokenEvent) -> dict[str, str | bool]:
    return {"service_name": event.service_name, "result": event.result, "background": event.background}
