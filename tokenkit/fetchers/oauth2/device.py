"""Signing in at another device: RFC 8628."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, final

from tokenkit._dataclasses import dataclass
from tokenkit._net.urls import checked_url
from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext
from tokenkit.errors import ConfigurationError, MalformedResponseError, TokenEndpointError, TransportError
from tokenkit.fetchers._answers import json_object
from tokenkit.fetchers.oauth2.sign_in import Show, SignInFlow, SignInPrompt
from tokenkit.tokens import Token

__all__ = ["DeviceSignIn"]

_INTERVAL = 5.0  # seconds between two questions where the server names none: RFC 8628 section 3.2
_LONGEST_INTERVAL = 60.0
_LONGEST_NAP = 1.0  # seconds: Ctrl-C is seen between two naps on every system


@final
@dataclass(kw_only=True, eq=False, repr=False)
class DeviceSignIn(SignInFlow):
    """A person signs in on another device: a phone, or the browser of another machine (RFC 8628).

    It works wherever the program runs: over SSH, in a container, without a browser. Arguments not listed are those of
    :class:`OAuth2Fetcher`; a client without a secret needs none of the client's authentication. Safe from any thread.

    Args:
        device_authorization_url: The device authorization endpoint. None: the issuer's.

    Raises:
        ConfigurationError: An argument is wrong, or arguments do not go together.

    Example:
        >>> from tokenkit.testing import LocalIdP
        >>> with LocalIdP() as idp:
        ...     idp.add_client("shop-cli")
        ...     flow = DeviceSignIn(issuer=idp.issuer, client_id="shop-cli", scope="orders")
        ...     flow.sign_in(lambda prompt: idp.approve(prompt.code), 10).scope
        'orders'
    """

    device_authorization_url: str | None = None

    grant: ClassVar[str] = "urn:ietf:params:oauth:grant-type:device_code"

    def _endpoints(self) -> dict[str, str | None]:
        return {**super()._endpoints(), "device_authorization_endpoint": self.device_authorization_url}

    def _signed_in(self, show: Show, clock: Clock, deadline: float) -> Token:
        context = FetchContext(timeout=deadline - clock.monotonic(), clock=clock)
        begun = clock.monotonic()
        response, _scrubber = self._client.post(
            "device_authorization_endpoint",
            lambda _url: self._common_params(context, scope=True),
            context=context,
            step_name=self.name,
        )
        answer = json_object(response, self.name)
        device_code, interval, expires_in = self._device_code(answer)
        deadline = min(deadline, begun + expires_in)
        show(self._prompt(answer, clock, deadline))
        while not self._nap(clock, interval, deadline):
            left = FetchContext(timeout=deadline - clock.monotonic(), clock=clock)
            try:
                return self._ask(lambda _url: {"grant_type": self.grant, "device_code": device_code}, left)
            except (TokenEndpointError, TransportError) as error:
                problem = error
            interval = self._next_interval(problem, interval)
        raise self._nobody_came()

    def _device_code(self, answer: Mapping[str, Any]) -> tuple[str, float, float]:
        device_code, expires_in = answer.get("device_code"), _seconds(answer.get("expires_in"))
        if not isinstance(device_code, str) or not device_code or not isinstance(answer.get("user_code"), str):
            raise MalformedResponseError("the answer has no device_code and user_code", step_name=self.name)
        if expires_in is None:
            raise MalformedResponseError("the answer does not say how long its code lives", step_name=self.name)
        return device_code, _seconds(answer.get("interval")) or _INTERVAL, expires_in

    def _prompt(self, answer: Mapping[str, Any], clock: Clock, deadline: float) -> SignInPrompt:
        # Some servers still use the name of a draft.
        pages = [
            answer.get("verification_uri") or answer.get("verification_url"),
            answer.get("verification_uri_complete"),
        ]
        try:
            url = checked_url(pages[0], argument="verification_uri", allow_insecure=self.allow_insecure)  # type: ignore[arg-type]  # checked there
            complete = (
                checked_url(pages[1], argument="verification_uri_complete", allow_insecure=self.allow_insecure)
                if pages[1]
                else None
            )
        except ConfigurationError as error:
            problem = error.message
        else:
            expires_at = clock.now() + timedelta(seconds=deadline - clock.monotonic())
            return SignInPrompt(url, answer["user_code"], complete, expires_at)
        raise MalformedResponseError(problem, step_name=self.name)

    def _next_interval(self, error: TokenEndpointError | TransportError, interval: float) -> float:
        """Return the seconds until the next question after *error* (RFC 8628 section 3.5); raise what is final."""
        code = error.error if isinstance(error, TokenEndpointError) else None
        if code == "authorization_pending":
            return interval
        if code == "slow_down":
            return interval + 5.0
        if code in ("access_denied", "expired_token"):
            raise self._refused(code) if code == "access_denied" else self._nobody_came()
        if not error.transient:
            raise error
        return min(max(interval * 2, 1.0), _LONGEST_INTERVAL)

    def _nap(self, clock: Clock, seconds: float, deadline: float) -> bool:
        """Wait *seconds*, or until *deadline*; return whether that is over."""
        until = min(clock.monotonic() + seconds, deadline)
        while (left := until - clock.monotonic()) > 0:
            clock.nap(queue.SimpleQueue(), min(left, _LONGEST_NAP))
        return clock.monotonic() >= deadline


def _seconds(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e9
    return float(value) if is_number else None  # type: ignore[arg-type]  # a number, as was just seen
