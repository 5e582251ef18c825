"""Authorises requests: sets the header, and answers a 401 with a renewal and a second request.

Which URLs get a token is decided in :mod:`tokenkit.auth._origins`, how a request is sent again in
:mod:`tokenkit.auth._resend`. What a request carried is known by the hook that it carries too; nothing about one
request is kept on the auth object, which any number of threads and sessions share.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, final

from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.exceptions import Timeout
from requests.structures import CaseInsensitiveDict

from tokenkit._net.deadline import time_left
from tokenkit.auth._accepted_tokens import AcceptedTokens
from tokenkit.auth._arguments import checked_attempts, checked_statuses, checked_wait
from tokenkit.auth._challenges import is_scope_refusal
from tokenkit.auth._hook import TokenHook
from tokenkit.auth._origins import OriginRules
from tokenkit.auth._redirects import keep_within_origins, was_sent
from tokenkit.auth._resend import Options, make_ready, resend
from tokenkit.errors import ConfigurationError, TokenKitError
from tokenkit.manager import TokenManager
from tokenkit.tokens import Token

__all__ = ["BearerAuth"]

logger = logging.getLogger("tokenkit.auth")

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_FINAL = "_tokenkit_final"  # on an answer: who has dealt with it, as requests-cache calls hooks twice
_MOST_PREFIXES = 16


def _plain_headers() -> type | None:
    """Return the type of requests' headers, if its one attribute is the dictionary that it is today.

    Setting an item of theirs costs more than all else that a request needs from us, for what is one assignment to
    that dictionary. So ``BearerAuth.__call__`` makes it directly, where it can.
    """
    probe: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    probe["A"] = "b"
    return CaseInsensitiveDict if vars(probe) == {"_store": {"a": ("A", "b")}} else None


_PLAIN_HEADERS = _plain_headers()


@final
class BearerAuth(AuthBase):
    """Authorises requests with a manager's token, and tries once more where it is rejected.

    ``session.auth = BearerAuth(manager)``, or ``auth=`` of one request. Safe from any thread, for any number of
    sessions. A header that the request has already is replaced, as by every ``auth=`` of requests.

    On a refresh status the very token that was sent is reported to the manager, and the request is sent again with
    another one. The caller gets the 401 as it is where the request carried no token of this object's, the header
    ``WWW-Authenticate`` says ``insufficient_scope``, the body cannot be sent twice, or there is no other token.

    Pickles and copies with its manager, and without a token.

    Args:
        manager: Where tokens come from.
        header: The header to set.
        refresh_status_codes: The statuses, from 400 to 599, that say that a token is no good.
        max_refresh_attempts: How often one request may be sent again. 0: never.
        timeout: Seconds, or a timedelta, that a request waits for a token. None: as long as the manager's policy
            lets a renewal run; 0: a request never waits.
        origins: Only these get the token, as ``https://host[:port]``, or ``https://*.host`` for the hosts below
            it; requests to others are sent without. None: any https URL, and loopback.
        allow_insecure: Whether ``http://`` beyond loopback may carry the token.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    # Slots are read faster than a dictionary, and what is kept says what a pickle holds.
    _KEPT = ("_attempts", "_header", "_key", "_manager", "_rules", "_statuses", "_timeout")
    __slots__ = (*_KEPT, "_accepted", "_approved", "_high", "_holding", "_hook", "_low", "_monotonic", "_stand_in")

    def __init__(
        self,
        manager: TokenManager,
        *,
        header: str = "Authorization",
        refresh_status_codes: Iterable[int] = (401,),
        max_refresh_attempts: int = 2,
        timeout: float | timedelta | None = None,
        origins: Iterable[str] | None = None,
        allow_insecure: bool = False,
    ) -> None:
        if not isinstance(manager, TokenManager):
            raise ConfigurationError(f"manager must be a TokenManager, not {type(manager).__name__}")
        if not isinstance(header, str) or not _FIELD_NAME.match(header):
            raise ConfigurationError("header must be the name of a header")
        self._manager = manager
        self._header = header
        self._key = header.lower()
        self._statuses = checked_statuses(refresh_status_codes)
        self._attempts = checked_attempts(max_refresh_attempts)
        self._timeout = checked_wait(timeout)
        self._rules = OriginRules(origins, allow_insecure=allow_insecure)
        self._start()

    def _start(self) -> None:
        # A string starts with a prefix if it sorts between that and the prefix with its last character, a slash,
        # raised by one: two comparisons, half the price of startswith(). Set here, never reassigned.
        self._low = self._rules.prefix
        self._high = self._low[:-1] + "0" if self._low else ""
        # What get_token() reads while a token is fresh. Where listeners hear of each use it is called all the same.
        self._holding = self._manager._holding
        self._monotonic = _end_of_time if self._manager._hears_hits else self._manager._monotonic
        # Each replaced whole, or safe in itself; a change that a thread loses costs a little time.
        self._approved: tuple[str, ...] = ()  # further prefixes of URLs that get the token
        self._accepted = AcceptedTokens()
        self._hook = TokenHook(self, None)  # for the token of the last request
        self._stand_in = f"Bearer pending-{os.urandom(8).hex()}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._KEPT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in self._KEPT:
            setattr(self, name, state[name])
        self._start()

    def __repr__(self) -> str:
        return f"<BearerAuth {self._header}>"

    @property
    def manager(self) -> TokenManager:
        """Where tokens come from."""
        return self._manager

    @property
    def is_ready(self) -> bool:
        """Whether the next request gets its token without waiting, and starts no renewal.

        :meta private:
        """
        snapshot = self._holding.snapshot
        return snapshot is not None and self._manager._monotonic() < snapshot.due_at

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Authorise a request that requests is preparing.

        Raises:
            AuthenticationError: There is no token.
            RenewalTimeoutError: There was none in time; it is a ``requests.exceptions.Timeout``.
            RenewalStoppedError: The manager is stopped.
            ConfigurationError: The token would travel where others can read it.
        """
        # Each line counts here: this runs for every request, and tests/benchmarks/hot_path.py holds it to a price.
        if not self._low <= r.url < self._high and not self.may_carry(r):  # type: ignore[operator]  # prepared: a str
            return r
        # As get_token() does; its call alone would cost a third of what is left.
        snapshot = self._holding.snapshot
        token = snapshot.token if snapshot is not None and self._monotonic() < snapshot.due_at else self._token_for(r)
        hook = self._hook
        if hook.token is not token:
            hook = self._hook = TokenHook(self, token)
        headers = r.headers
        if type(headers) is _PLAIN_HEADERS:
            headers._store[self._key] = hook.field  # type: ignore[attr-defined]  # see _plain_headers
        else:
            headers[self._header] = token.authorization
        hooks = r.hooks["response"]
        if hooks:
            hooks.insert(0, hook)  # before the user's, who are to see the last answer only
        else:
            hooks.append(hook)
        return r

    def _token_for(self, request: PreparedRequest) -> Token:
        try:
            return self._manager.get_token(_tighter(self._timeout, time_left()))
        except TokenKitError as error:
            error.request = request
            raise

    # What the hooks ask for.

    @property
    def header(self) -> str:
        """The header that holds the token."""
        return self._header

    @property
    def placeholder(self) -> str:
        """What that holds while a prepared request waits for its token.

        :meta private:
        """
        return self._stand_in

    @property
    def in_storm(self) -> bool:
        """Whether some resource rejects tokens that are too young to be bad.

        :meta private:
        """
        return self._manager.rejection_storm

    def may_carry(self, request: PreparedRequest) -> bool:
        """Return whether the request gets a token.

        :meta private:
        """
        url = request.url or ""
        if self._low <= url < self._high or url.startswith(self._approved):
            return True
        try:
            allowed = self._rules.allow(url)
        except ConfigurationError as error:
            error.request = request
            raise
        prefix = url[: url.find("/", len("https://")) + 1]
        if allowed and prefix and "@" not in prefix:  # no password is kept
            self._approved = (prefix, *self._approved)[:_MOST_PREFIXES]
        return allowed

    def may_follow(self, came_from: str, url: str) -> bool:
        """Return whether the token may go on from one URL to the other on a redirect.

        :meta private:
        """
        return self._rules.follow(came_from, url)

    def answer(self, response: Response, hook: TokenHook, options: Options) -> Response | None:
        """Return what the caller is to get in place of *response*; None for that itself.

        :meta private:
        """
        request = response.request
        if not was_sent(request):
            return keep_within_origins(response, self) if response.is_redirect else None
        if not hook.was_on(request):
            return None  # another's request, or one that was redirected to where the token does not go
        if response.status_code in self._statuses:
            done = getattr(response, _FINAL, ())
            if id(self) not in done:
                response = self._renewed(response, hook, options)
                setattr(response, _FINAL, (*done, id(self)))
        elif self._manager.rejection_storm and hook.is_on(request):
            self._accepted.note(request, hook.token)
        if response.is_redirect:
            keep_within_origins(response, self)
        return response

    def _renewed(self, response: Response, hook: TokenHook, options: Options) -> Response:
        request = response.request
        for _ in range(self._attempts):
            if response.status_code not in self._statuses or is_scope_refusal(
                response.headers.get("WWW-Authenticate", "")
            ):
                break
            token = self._another(response, hook)
            if token is None or not make_ready(response):
                break
            hook = hook.replace_token(response, token)
            response = resend(request, response, options)
        if response.status_code not in self._statuses and self._manager.rejection_storm:
            self._accepted.note(request, hook.token)
        return response

    def _another(self, response: Response, hook: TokenHook) -> Token | None:
        """Return a token in place of *hook*'s; None where the caller should get the answer as it is."""
        assert hook.token is not None
        timeout = _tighter(self._timeout, time_left())
        trusted = self._accepted.was_accepted(response.request, hook.token)
        try:
            token = self._manager.renew_rejected(hook.token, timeout, was_accepted=trusted)
        except TokenKitError as error:
            if isinstance(error, Timeout) and time_left() <= 0:
                response.close()
                error.request = response.request
                raise
            logger.debug("a token was rejected and could not be renewed: %s", type(error).__name__)
            return None
        return None if token is None or token.authorization == hook.token.authorization else token


def _end_of_time() -> float:
    return math.inf


def _tighter(timeout: float | None, left: float) -> float | None:
    if left == math.inf:
        return timeout
    return max(0.0, left if timeout is None else min(left, timeout))
