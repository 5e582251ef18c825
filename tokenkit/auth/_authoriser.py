"""What a ``BearerAuth`` does: which requests get a token, and what an answer to one of them is worth.

Which URLs get one is decided in :mod:`tokenkit.auth._origins`, how a request is sent again in
:mod:`tokenkit.auth._resend`. What a request carried is known by the hook that it carries too; nothing about one
request is kept here, where any number of threads and sessions meet.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, final

from requests import PreparedRequest, Response
from requests.exceptions import Timeout

from tokenkit._net.deadline import tighter, time_left
from tokenkit._net.urls import is_local, may_name_a_proxy
from tokenkit.auth._accepted_tokens import AcceptedTokens
from tokenkit.auth._arguments import ExtraHeaders
from tokenkit.auth._challenges import is_scope_refusal, parse_challenges, rejection
from tokenkit.auth._hook import TokenHook, change_hooks, hooks_of
from tokenkit.auth._origins import OriginRules
from tokenkit.auth._pooled_manager import PooledManager
from tokenkit.auth._redirects import redirect_target, without_location
from tokenkit.auth._resend import Options, make_ready, resend
from tokenkit.auth._withheld import Withheld, exchange, hook_on, sent_request, withhold
from tokenkit.contracts import Challenge
from tokenkit.errors import ConfigurationError, TokenKitError
from tokenkit.manager import TokenManager
from tokenkit.tokens import Token

__all__ = ["Authoriser", "Settings"]

logger: logging.Logger = logging.getLogger("tokenkit.auth")

_FINAL = "_tokenkit_final"  # on an answer: who has dealt with it, as requests-cache calls hooks twice
_MOST_PREFIXES = 16


class Settings(NamedTuple):
    """What a ``BearerAuth`` was given, checked."""

    header: str
    scheme: str | None
    extra_headers: ExtraHeaders
    statuses: frozenset[int]
    attempts: int
    timeout: float | None
    rules: OriginRules


@final
class Authoriser:
    """Authorises requests with a manager's token, and answers those that reject it."""

    def __init__(self, manager: TokenManager | PooledManager, settings: Settings) -> None:
        # Set here, never reassigned:
        self.manager = manager
        self.header = settings.header
        self._settings = settings
        self.placeholder = f"Bearer pending-{os.urandom(8).hex()}"  # another for each, as caches tell users apart by it
        self._accepted = AcceptedTokens()
        # Replaced whole; a change that a thread loses costs a little time.
        self._approved: tuple[str, ...] = settings.rules.prefixes  # what URLs that get the token begin with
        self._local: tuple[str, ...] = ()  # what such URLs to this machine begin with, where no proxy gets them
        self._hook: TokenHook | None = None  # of the token of the last request

    def __reduce__(self) -> tuple[Any, ...]:
        return Authoriser, (self.manager, self._settings)

    def __repr__(self) -> str:
        return f"<authoriser {self.header}>"

    # Requests

    def of(self, request: PreparedRequest) -> Authoriser:
        """Return what authorises *request*: this one, as all requests have one manager."""
        return self

    def authorise(self, request: PreparedRequest) -> PreparedRequest:
        """Put a token on *request*, which requests is preparing, if it may carry one; wait where there is none."""
        if (request.url or "").startswith(self._approved) or self.may_carry(request):
            self.put_on(request)
        return request

    def put_on(self, request: PreparedRequest) -> None:
        """Put a token on *request*, which no other thread has."""
        token = self.manager.fresh_token() or self._awaited(request)
        hook = self._hook
        if hook is None or hook.token is not token:
            hook = self._hook = TokenHook(self, token)
        hooks = request.hooks["response"]
        if hooks:
            self._stand_first(request, hook)
        else:
            hooks.append(hook)
        request.headers[hook.header] = hook.value
        if hook.extra:
            hook.put_on(request.headers)

    def _stand_first(self, request: PreparedRequest, hook: TokenHook) -> None:
        # Before the user's, who are to see the last answer only. An earlier one of ours goes, with what it put on.
        earlier = hook_on(request, self)
        if isinstance(earlier, TokenHook):
            earlier.strip_credentials(request.headers)
        change_hooks(request, [hook, *(one for one in hooks_of(request) if one is not earlier)])

    def may_carry(self, request: PreparedRequest, direct: bool = False) -> bool:
        """Return whether *request* gets a token; *direct* tells that no proxy of the environment gets it to loopback.

        Raises:
            ConfigurationError: Others could read the token on its way.
        """
        url = request.url or ""
        if url.startswith(self._approved) or (url.startswith(self._local) and not may_name_a_proxy()):
            return True
        try:
            allowed = self._settings.rules.allow(url, direct=direct)
        except ConfigurationError as error:
            error.request = request
            raise
        prefix = url[: url.find("/", len("https://")) + 1]
        if allowed and prefix and "@" not in prefix:  # no password is kept
            if url.startswith("https://"):
                self._approved = (prefix, *self._approved)[:_MOST_PREFIXES]
            elif is_local(prefix):  # whether that is safe depends on the environment of the moment
                self._local = (prefix, *self._local)[:_MOST_PREFIXES]
        return allowed

    def _awaited(self, request: PreparedRequest) -> Token:
        try:
            return self.manager.get_token(tighter(self._settings.timeout))
        except TokenKitError as error:
            error.request = request
            raise

    @property
    def is_ready(self) -> bool:
        """Whether the next request gets its token without waiting, and starts no renewal."""
        return self.manager.holds_fresh_token

    def fields(self, token: Token) -> Mapping[str, str]:
        """Return all headers that go with *token*, its own first."""
        scheme = self._settings.scheme
        value = token.authorization if scheme is None else f"{scheme} {token.access_token}".lstrip()
        return {self.header: value, **self._settings.extra_headers.of(token)}

    # Answers

    @property
    def weighs_answers(self) -> bool:
        """Whether even good answers are of interest."""
        return self.manager.weighs_answers

    def may_follow(self, came_from: str, url: str) -> bool:
        """Return whether the token may go on from one URL to the other on a redirect."""
        return self._settings.rules.follow(came_from, url)

    def answer(self, response: Response, hook: TokenHook, options: Options) -> Response | None:
        """Return what the caller is to get in place of *response*; None for that itself."""
        request = sent_request(response)
        if request is None or not self._was_on(request, hook):
            return self._recorded(response, request, hook, options)
        if response.status_code in self._settings.statuses:
            response = self._once(response, request, hook, options)
        elif self.weighs_answers and hook.is_on(request):
            self._accepted.note(request, hook.token)
        self._keep_within_origins(response, request, hook)
        return response

    def heal(self, response: Response, hook: TokenHook, options: Options) -> Response | None:
        """Answer a response to a request that its owner sent again while the token was off it."""
        request = sent_request(response)
        if request is None:
            return None
        if response.status_code in self._settings.statuses and self.may_carry(request, direct=True):
            response = self._once(response, request, hook, options, was_sent=False)
        self._keep_within_origins(response, request, hook)  # another thread may put the token back at any time
        return response

    def _was_on(self, request: PreparedRequest, hook: TokenHook) -> bool:
        """Return whether *request* was sent with *hook*'s token: it carries that, or what has taken its place.

        Two threads may send one request, and the other may be ahead.
        """
        there = hook_on(request, self)
        return hook.is_on(request) or (there is not None and there is not hook and not self._is_off(there, request))

    def _is_off(self, there: TokenHook | Withheld, request: PreparedRequest) -> bool:
        return isinstance(there, TokenHook) and not there.is_on(request)

    def _recorded(
        self, response: Response, record: PreparedRequest | None, hook: TokenHook, options: Options
    ) -> Response | None:
        """Answer a response whose request is not the one that was sent, or was sent without a token."""
        replayed = record is not None and hook_on(record, self) is None and self.header in record.headers
        if replayed and record is not None and response.status_code in self._settings.statuses:
            return self._once(response, record, hook, options)  # betamax gives the request of the recording
        if response.is_redirect and record is None:
            return without_location(response, self.may_follow)
        return None

    def _once(
        self, response: Response, request: PreparedRequest, hook: TokenHook, options: Options, was_sent: bool = True
    ) -> Response:
        done = getattr(response, _FINAL, ())
        if id(self) not in done:
            response = self._renewed(response, request, hook, options, was_sent)
            setattr(response, _FINAL, (*done, id(self)))
        return response

    def _renewed(
        self, response: Response, request: PreparedRequest, hook: TokenHook, options: Options, was_sent: bool
    ) -> Response:
        statuses, attempts = self._settings.statuses, self._settings.attempts
        older = self._older(response, hook) if was_sent and attempts else None
        sent = hook
        if older is not None:
            sent = TokenHook(self, older)
            response = resend(self._with(response, hook, sent), response, options)
            attempts -= 1
            if response.status_code not in statuses:
                return response
        earlier: Challenge | None = None
        for attempt in range(max(attempts, 1)):
            said = response.headers.get("WWW-Authenticate", "")
            if response.status_code not in statuses or is_scope_refusal(said):
                break
            challenge = rejection(said)
            token = self._another(response, hook, was_sent or attempt > 0, challenge, earlier, may_wait=attempts > 0)
            earlier = challenge
            if token is None or not attempts or not make_ready(response):
                break
            other = TokenHook(self, token)
            ready = self._with(response, sent, other)
            exchange(request, hook, other)
            response = resend(ready, response, options)
            hook = sent = other
        if response.status_code not in statuses:
            self._accepted.note(response.request, hook.token)  # should it be revoked while it is young
        return response

    def _older(self, response: Response, hook: TokenHook) -> Token | None:
        """Return the token before *hook*'s, where the resource may not have learnt of that one yet."""
        older = self.manager.predecessor_of(hook.token)
        if older is None or self._accepted.took(response.request, hook.token):
            return None
        said = parse_challenges(response.headers.get("WWW-Authenticate", ""))
        wants_more = any(one.params.get("error", "").startswith("insufficient_") for one in said)
        return None if wants_more or not make_ready(response) else older

    def _with(self, rejected: Response, hook: TokenHook, other: TokenHook) -> PreparedRequest:
        """Return a request as that of *rejected*, but with the token of *other*; no other thread has it."""
        request = (sent_request(rejected) or rejected.request).copy()
        rejected.request = request.copy()  # as it was sent, whatever becomes of the other
        there = hook_on(request, self)
        hook.strip_credentials(request.headers)
        other.put_on(request.headers)
        change_hooks(request, [other, *(one for one in hooks_of(request) if one is not there)])
        return request

    def _another(
        self,
        response: Response,
        hook: TokenHook,
        was_sent: bool,
        challenge: Challenge | None,
        earlier: Challenge | None,
        *,
        may_wait: bool,
    ) -> Token | None:
        """Return a token in place of *hook*'s; None where the caller should get the answer as it is."""
        timeout = tighter(self._settings.timeout if may_wait else 0.0)
        try:
            if not was_sent:
                return self.manager.get_token(timeout)
            trusted = self._accepted.was_accepted(response.request, hook.token)
            token = self.manager.renew_rejected(
                hook.token, timeout, was_accepted=trusted, challenge=challenge, earlier=earlier
            )
        except TokenKitError as error:
            if isinstance(error, Timeout) and time_left() <= 0:
                response.close()
                error.request = response.request
                raise
            logger.debug("a token was rejected and could not be renewed: %s", type(error).__name__)
            return None
        return None if token is None or token.authorization == hook.token.authorization else token

    def _keep_within_origins(self, response: Response, request: PreparedRequest, hook: TokenHook) -> None:
        if response.is_redirect:
            target = redirect_target(response) or ""
            if not self.may_follow(request.url or "", target):
                if response.request is request:
                    response.request = request.copy()  # as it was sent
                withhold(request, hook, target)
