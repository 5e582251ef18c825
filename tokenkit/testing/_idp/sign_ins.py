"""People at the identity provider: what a browser or a device asked for, and what they said to it.

:class:`SignIns` owns pushed requests, authorization codes and device codes (RFC 6749 4.1, 7636, 8628, 9126).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final
from urllib.parse import urlsplit

from tokenkit.clock import Clock
from tokenkit.testing._idp.messages import Refusal

__all__ = ["AuthorizationRequest", "Device", "SignIns"]

_REQUEST_URI = "urn:ietf:params:oauth:request_uri:"
_PUSHED_LIFETIME = 60.0  # seconds, as RFC 9126 section 2.2 advises
_CODE_LIFETIME = 60.0
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, so no words


@final
@dataclass(frozen=True, slots=True, repr=False)
class AuthorizationRequest:
    """What a client asked a person for, by a browser."""

    client_id: str
    redirect_uri: str
    challenge: str
    state: str
    scope: str | None

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> AuthorizationRequest:
        """Read it from the parameters of an authorization request.

        Raises:
            Refusal: It is not one that this server answers: a code, with PKCE, to a loopback address.
        """
        if fields.get("response_type") != "code":
            raise Refusal("unsupported_response_type", "only response_type=code is answered here")
        if fields.get("code_challenge_method") != "S256" or len(fields.get("code_challenge", "")) != 43:
            raise Refusal("invalid_request", "PKCE with S256 is required (RFC 7636)")
        redirect_uri = fields.get("redirect_uri", "")
        if urlsplit(redirect_uri).hostname not in ("127.0.0.1", "::1"):
            raise Refusal("invalid_request", "only loopback redirects are registered here (RFC 8252 section 7.3)")
        return cls(
            client_id=fields.get("client_id", ""),
            redirect_uri=redirect_uri,
            challenge=fields["code_challenge"],
            state=fields.get("state", ""),
            scope=fields.get("scope"),
        )


@final
@dataclass(frozen=True, slots=True, repr=False)
class Device:
    """A device that waits for its person."""

    client_id: str
    scope: str | None
    user_code: str
    expires_at: float
    interval: float
    asked_at: float = float("-inf")
    username: str | None = None
    denied: bool = False


@final
class SignIns:
    """Sign-ins under way. Safe from any thread; nothing here blocks.

    Args:
        clock: What codes expire on.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._pushed: dict[str, tuple[AuthorizationRequest, float]] = {}
        self._codes: dict[str, tuple[AuthorizationRequest, str, float]] = {}
        self._devices: dict[str, Device] = {}

    def push(self, request: AuthorizationRequest) -> tuple[str, float]:
        """Keep *request*; return its ``request_uri`` and how many seconds it lives."""
        uri = _REQUEST_URI + secrets.token_urlsafe(16)
        with self._lock:
            self._pushed[uri] = request, self._clock.monotonic() + _PUSHED_LIFETIME
        return uri, _PUSHED_LIFETIME

    def pushed(self, uri: str, client_id: str) -> AuthorizationRequest:
        """Return the request that *client_id* pushed as *uri*; it may be read again until its person signed in."""
        with self._lock:
            request, until = self._pushed.get(uri, (None, 0.0))
        if request is None or request.client_id != client_id or self._clock.monotonic() >= until:
            raise Refusal("invalid_request_uri", "the request_uri is unknown or expired")
        return request

    def issue_code(self, request: AuthorizationRequest, username: str) -> str:
        """Return an authorization code for what *username* agreed to."""
        code = f"code-{secrets.token_urlsafe(24)}"
        with self._lock:
            self._codes[code] = request, username, self._clock.monotonic() + _CODE_LIFETIME
        return code

    def redeem_code(self, code: str, client_id: str, redirect_uri: str, verifier: str) -> tuple[str, str | None]:
        """Return whose *code* is and the scope granted; a code is good once.

        Raises:
            Refusal: It is unknown, spent, expired, another client's, or the verifier does not fit.
        """
        with self._lock:
            request, username, until = self._codes.pop(code, (None, "", 0.0))
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if request is None or self._clock.monotonic() >= until or request.client_id != client_id:
            raise Refusal("invalid_grant", "the authorization code is not valid for this client")
        if request.redirect_uri != redirect_uri or request.challenge != challenge:
            raise Refusal("invalid_grant", "redirect_uri or code_verifier is not what the code was asked with")
        return username, request.scope

    def begin_device(self, client_id: str, scope: str | None, lifetime: float, interval: float) -> tuple[str, Device]:
        """Return a device code and what goes with it."""
        letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
        user_code = f"{letters[:4]}-{letters[4:]}"
        device = Device(client_id, scope, user_code, self._clock.monotonic() + lifetime, interval)
        device_code = f"device-code-{secrets.token_urlsafe(24)}"
        with self._lock:
            self._devices[device_code] = device
        return device_code, device

    def answer_device(self, user_code: str, username: str | None) -> bool:
        """Note that the person at the device of *user_code* is *username*, or says no; False: there is no such one."""
        with self._lock:
            device_code = self._device_code_locked(user_code.upper(), self._clock.monotonic())
            if device_code is None:
                return False
            device = self._devices[device_code]
            self._devices[device_code] = replace(device, username=username, denied=username is None)
            return True

    def _device_code_locked(self, user_code: str, now: float) -> str | None:
        good = (code for code, one in self._devices.items() if one.user_code == user_code and now < one.expires_at)
        return next(good, None)

    def redeem_device(self, device_code: str, client_id: str) -> tuple[str, str | None]:
        """Return who signed in at the device and the scope granted; a code is good once.

        Raises:
            Refusal: With the code of RFC 8628 section 3.5 that says why there is nothing (yet).
        """
        now = self._clock.monotonic()
        with self._lock:
            device = self._devices.get(device_code)
            if device is None or device.client_id != client_id:
                raise Refusal("invalid_grant", "the device code is not valid for this client")
            too_soon = now - device.asked_at < device.interval
            self._devices[device_code] = replace(
                device, asked_at=now, interval=device.interval + 5 if too_soon else device.interval
            )
            if now >= device.expires_at:
                raise Refusal("expired_token", "the device code has expired")
            if device.denied:
                raise Refusal("access_denied", "the person said no")
            if too_soon:
                raise Refusal("slow_down", "asked too soon")
            if device.username is None:
                raise Refusal("authorization_pending", "the person has not answered yet")
            del self._devices[device_code]
            return device.username, device.scope
