"""Metrics and spans for OpenTelemetry, on its API. Needs ``requests-tokenkit[opentelemetry]``; an SDK sends them on."""

from __future__ import annotations

from typing import final

from tokenkit.clock import SystemClock
from tokenkit.contrib._metrics import COUNTED, LIFETIME, TIMED, MetricsListener
from tokenkit.events import TokenEvent

try:
    from opentelemetry.metrics import MeterProvider, get_meter
    from opentelemetry.trace import Status, StatusCode, TracerProvider, get_tracer
except ModuleNotFoundError as _error:
    raise ImportError(
        f"OpenTelemetryListener needs the module {_error.name}: pip install 'requests-tokenkit[opentelemetry]'",
        name=_error.name,
    ) from _error

__all__ = ["OpenTelemetryListener"]

_NANO = 1_000_000_000
_clock = SystemClock()


@final
class OpenTelemetryListener(MetricsListener):
    """Measures tokens with the meter ``tokenkit``, and makes a span of each attempt to renew.

    One serves any number of managers, from any thread.

    * Histograms, in seconds: ``tokenkit.token_acquire.duration``, ``tokenkit.token_refresh.duration``,
      ``tokenkit.cache_store.duration`` and ``tokenkit.cache_refresh.duration``.
    * Counters: ``tokenkit.tokens`` (that came to be held), ``tokenkit.cache_hits``, ``tokenkit.cache_misses`` and
      ``tokenkit.cache_invalidations``.
    * The gauge ``tokenkit.token.lifetime``, in seconds: what the newest token had left when it came to be held. It says
      nothing of a token that never expires, since OpenTelemetry takes no infinity.

    All others but the gauge, which has the first alone, have the attributes ``service_name``, ``result`` (the words of
    :class:`~tokenkit.events.TokenListener`) and ``background`` (whether on the renewal thread). What failed has
    ``error.type`` (the class of the error), too, and where there is one ``http.response.status_code`` and ``error``
    (the OAuth code).

    A span ``tokenkit.renew`` lasts as long as its attempt did. It has these attributes and ``reason``, and where the
    attempt failed the status ``ERROR``. Where a caller led it, it is a child of the caller's span.

    Args:
        meter_provider: Whose meter it is. None: the provider that the program has set, or sets later.
        tracer_provider: Whose tracer makes the spans. None: the provider that the program has set, or sets later.
        hits: Count ``cache_hit`` too, once for each call of ``get_token``, which takes some time.

    Example:
        >>> from tokenkit import CallableTokenFetcher, Token, TokenManager
        >>> source = CallableTokenFetcher(lambda: Token("not-shown"), name="billing")
        >>> with TokenManager(source, listeners=[OpenTelemetryListener()]) as manager:
        ...     token = manager.get_token()  # measured by the program's provider
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        tracer_provider: TracerProvider | None = None,
        hits: bool = False,
    ) -> None:
        super().__init__(hits=hits, is_default=meter_provider is None and tracer_provider is None)
        self._tracer = get_tracer("tokenkit", tracer_provider=tracer_provider)
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

    def token_refresh(self, event: TokenEvent) -> None:
        super().token_refresh(event)
        end = _clock.time()
        began = int((end - (event.seconds or 0.0)) * _NANO)
        attributes = {**_attributes(event), "reason": event.reason or ""}
        span = self._tracer.start_span("tokenkit.renew", start_time=began, attributes=attributes)
        if event.failure is not None:
            span.set_status(Status(StatusCode.ERROR, event.failure.kind))
        span.end(int(end * _NANO))

    def _set_lifetime(self, event: TokenEvent) -> None:
        if event.seconds is not None:
            self._lifetime.set(event.seconds, {"service_name": event.service_name})


def _attributes(event: TokenEvent) -> dict[str, str | int | bool]:
    failed = event.failure
    found: dict[str, str | int | bool] = {
        "service_name": event.service_name,
        "result": event.result,
        "background": event.background,
    }
    if failed is not None:
        found["error.type"] = failed.kind
        facts = {"http.response.status_code": failed.status, "error": failed.error}
        found.update({name: fact for name, fact in facts.items() if fact is not None})
    return found
