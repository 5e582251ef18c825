"""Authorisation put off until a request is sent, so that one which a cache answers needs no token.

Meanwhile the request has a stand-in for the credential: caches see that it is an authorised one (RFC 9111 section
3.5), and where a redirect takes the credential off, the stand-in goes too. A hook remembers who is to replace it.
"""

from __future__ import annotations

from typing import Any, Protocol, final

from requests import PreparedRequest, Response

from tokenkit.auth._hook import Owner, hooks_of
from tokenkit.errors import TokenKitError

__all__ = ["Authoriser", "Deferred", "authorise"]


class Authoriser(Owner, Protocol):
    """What is asked of the auth object that a request waits for, besides what its hooks ask."""

    @property
    def placeholder(self) -> str:
        """What the header holds meanwhile: another value for each, as caches may tell users apart by it."""

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Authorise a request; wait for a token where there is none."""

    def may_carry(self, request: PreparedRequest) -> bool:
        """Return whether the request gets a token."""


@final
class Deferred:
    """Prepares one request as *owner* would, but for the token; then stands among its hooks until that is put on."""

    __slots__ = ("_owner", "_stand_in", "_url")

    def __init__(self, owner: Authoriser) -> None:
        self._owner = owner
        self._stand_in = owner.placeholder
        self._url = ""

    def prepare(self, request: PreparedRequest) -> PreparedRequest:
        """Put the stand-in on *request*, where it may carry a token at all: requests' ``auth=``."""
        if self._owner.may_carry(request):
            self._url = request.url or ""
            request.headers[self._owner.header] = self._stand_in
            request.hooks["response"].append(self)
        return request

    def __copy__(self) -> Deferred:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Deferred:
        return self

    def __call__(self, response: Response, *args: Any, **options: Any) -> None:
        """Leave an answer as it is: a cache gave it."""

    def authorise(self, request: PreparedRequest) -> None:
        """Put the token in the place of its stand-in; off, where the request goes to another origin by now."""
        header, url = self._owner.header, request.url or ""
        if request.headers.get(header) != self._stand_in:
            return
        # Another thread may send the same request, so it changes at once, and when there is a token.
        ready = request.copy()
        ready.hooks = {**request.hooks, "response": [hook for hook in hooks_of(request) if hook is not self]}
        ready.headers.pop(header, None)
        if url == self._url or self._owner.may_follow(self._url, url):
            try:
                self._owner(ready)
            except TokenKitError as error:
                error.request = request
                raise
        request.headers, request.hooks = ready.headers, ready.hooks


def authorise(request: PreparedRequest) -> None:
    """Do what was deferred when *request* was prepared, if anything was; done once, and again after an error.

    Raises:
        TokenKitError: As the auth object does.
    """
    for hook in hooks_of(request):
        if isinstance(hook, Deferred):
            hook.authorise(request)
