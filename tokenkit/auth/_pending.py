"""Authorisation put off until a request is sent, so that one which a cache answers needs no token.

Meanwhile the request has a placeholder for the credential: caches see that it is an authorised one (RFC 9111 section
3.5), and where a redirect takes the credential off, the placeholder goes too. A hook remembers who is to replace it.
"""

from __future__ import annotations

from typing import Any, final

from requests import PreparedRequest, Response

from tokenkit.auth._authoriser import Authoriser
from tokenkit.auth._hook import CHANGING, change_hooks, hooks_of
from tokenkit.auth._pooled import PooledAuthoriser
from tokenkit.errors import TokenKitError

__all__ = ["Pending", "authorise"]


@final
class Pending:
    """Prepares one request as *auth* would, but waits for no token: then it stands among the hooks until one is put on.

    Made by sessions that send nothing to this machine through a proxy of the environment.
    """

    __slots__ = ("_auth", "_placeholder", "_rules", "_url")

    def __init__(self, rules: Authoriser | PooledAuthoriser) -> None:
        self._rules = rules

    def prepare(self, request: PreparedRequest) -> PreparedRequest:
        """Put a token or the placeholder on *request*, where it may carry a token at all: requests' ``auth=``."""
        if not self._rules.may_carry(request, direct=True):
            return request
        auth = self._rules.of(request)
        if auth.is_ready:
            auth.put_on(request)
        else:
            self._auth, self._placeholder, self._url = auth, auth.placeholder, request.url or ""
            request.headers[auth.header] = auth.placeholder
            request.hooks["response"].append(self)
        return request

    def __copy__(self) -> Pending:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Pending:
        return self

    def __call__(self, response: Response, *args: Any, **options: Any) -> None:
        """Leave an answer as it is: a cache gave it."""

    def authorise(self, request: PreparedRequest) -> None:
        """Put the token in the place of its placeholder; off, where the request goes to another origin by now."""
        header, url = self._auth.header, request.url or ""
        with CHANGING.get():  # another thread may be putting a token on, and its hook
            if request.headers.get(header) != self._placeholder:
                return
        # Another thread may send the same request, so it changes at once, and when there is a token.
        ready = request.copy()
        change_hooks(ready, [hook for hook in hooks_of(request) if hook is not self])
        ready.headers.pop(header, None)
        if url == self._url or self._auth.may_follow(self._url, url):
            try:
                self._auth.put_on(ready)
            except TokenKitError as error:
                error.request = request
                raise
        with CHANGING.get():
            if request.headers.get(header) == self._placeholder:  # else another thread was first
                request.headers, request.hooks = ready.headers, ready.hooks


def authorise(request: PreparedRequest) -> None:
    """Do what was deferred when *request* was prepared, if anything was; done once, and again after an error.

    Raises:
        TokenKitError: As the auth object does.
    """
    for hook in hooks_of(request):
        if isinstance(hook, Pending):
            hook.authorise(request)
