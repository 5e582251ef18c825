"""Authorisation put off until a request is sent, so that one which a cache answers needs no token.

Meanwhile the request has a stand-in for the credential: caches see that it is an authorised one (RFC 9111 section
3.5), and where a redirect takes the credential off, the stand-in goes too. A hook remembers who is to replace it.
"""

from __future__ import annotations

from typing import Any, Protocol, final

from requests import PreparedRequest, Response

__all__ = ["Authoriser", "Deferred", "authorise"]

_STAND_IN = "Bearer pending"


class Authoriser(Protocol):
    """What is asked of the auth object that a request waits for."""

    @property
    def header(self) -> str:
        """The header that holds the token."""

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Authorise a request; wait for a token where there is none."""

    def may_carry(self, request: PreparedRequest) -> bool:
        """Return whether the request gets a token."""

    def may_follow(self, came_from: str, url: str) -> bool:
        """Return whether the token may go on from one URL to the other."""


@final
class Deferred:
    """Prepares a request as *owner* would, but for the token; then stands among its hooks, and knows what to do."""

    __slots__ = ("_url", "owner")

    def __init__(self, owner: Authoriser) -> None:
        self.owner = owner
        self._url = ""

    def prepare(self, request: PreparedRequest) -> PreparedRequest:
        """Put the stand-in on *request*, where it may carry a token at all: requests' ``auth=``."""
        if self.owner.may_carry(request):
            self._url = request.url or ""
            request.headers[self.owner.header] = _STAND_IN
            request.hooks["response"].append(self)
        return request

    def __call__(self, response: Response, *args: Any, **options: Any) -> None:
        """Leave an answer as it is: a cache gave it."""

    def authorise(self, request: PreparedRequest) -> None:
        """Put the token in the place of its stand-in; off, where the request goes to another origin by now."""
        header = self.owner.header
        if request.headers.get(header) != _STAND_IN:
            return
        if self.owner.may_follow(self._url, request.url or ""):
            # Copies of a request share these, and wait for tokens of their own.
            request.headers = request.headers.copy()
            request.hooks = {**request.hooks, "response": [*request.hooks["response"]]}
            self.owner(request)
        else:
            del request.headers[header]


def authorise(request: PreparedRequest) -> None:
    """Do what was deferred when *request* was prepared, if anything was; done once, and again after an error.

    Raises:
        TokenKitError: As the auth object does.
    """
    hooks = request.hooks.get("response") if request.hooks else None
    for hook in hooks if isinstance(hooks, list) else ():  # else by hand: requests takes one function, too
        if isinstance(hook, Deferred):
            hook.authorise(request)
