"""Which resources took which token, while some other resource rejects tokens too young to be bad."""

from __future__ import annotations

from typing import final

from requests import PreparedRequest

from tokenkit.tokens import Token

__all__ = ["AcceptedTokens"]

_MOST_RESOURCES = 1024


@final
class AcceptedTokens:
    """Remembers, by URL without its query, the token that was taken last and one that was rejected since.

    Any thread may read and change it at any time: each entry is one reference, and one that is lost costs a renewal
    or, at worst, a 401. Bounded: with too many resources it forgets all of them.
    """

    def __init__(self) -> None:
        self._by_resource: dict[str, tuple[Token, Token | None]] = {}

    def __len__(self) -> int:
        return len(self._by_resource)

    def note(self, request: PreparedRequest, token: Token | None) -> None:
        """Remember that the resource of *request* took *token*."""
        if len(self._by_resource) >= _MOST_RESOURCES:
            self._by_resource = {}
        if token is not None:
            self._by_resource[_resource(request)] = (token, None)

    def took(self, request: PreparedRequest, token: Token) -> bool:
        """Return whether the resource of *request* took this very token last."""
        return self._by_resource.get(_resource(request), (None, None))[0] == token

    def was_accepted(self, request: PreparedRequest, token: Token) -> bool:
        """Return whether a resource that rejects *token* took it before, or took the last one that it judged.

        The latter is for a token that was revoked before anybody could use it. A resource that took one token and
        rejects all others is believed once.
        """
        resource = _resource(request)
        taken, doubted = self._by_resource.get(resource, (None, None))
        if taken is None or taken == token:
            return taken is not None
        if doubted is None:
            self._by_resource[resource] = (taken, token)
        return doubted is None or doubted == token


def _resource(request: PreparedRequest) -> str:
    return (request.url or "").partition("?")[0]
