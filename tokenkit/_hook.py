"""The response hook by which a request knows the token that it carries."""

from __future__ import annotations

from typing import Any, Protocol, final

from requests import PreparedRequest, Response

from tokenkit._resend import Options
from tokenkit.tokens import Token

__all__ = ["Owner", "TokenHook", "hooks_of"]


class Owner(Protocol):
    """What a hook asks of the auth object that made it."""

    @property
    def header(self) -> str:
        """The header that holds the token."""

    @property
    def in_storm(self) -> bool:
        """Whether even good answers are of interest."""

    def answer(self, response: Response, hook: TokenHook, options: Options) -> Response | None:
        """Return what the caller is to get; None for *response* as it is."""

    def may_follow(self, came_from: str, url: str) -> bool:
        """Return whether the token may go on from one URL to the other."""


@final
class TokenHook:
    """The hook of every request with one token: made once a token, so that a request allocates nothing.

    Immutable. Redirected requests have the hooks of the first one, so each is asked whether it still carries the
    token. Pickled, it is a hook that does nothing: an answer must pickle whatever its token came from.
    """

    __slots__ = ("field", "owner", "token")

    def __init__(self, owner: Owner, token: Token | None) -> None:
        self.owner = owner
        self.token = token
        self.field = (owner.header, token.authorization if token else "")

    def __call__(self, response: Response, *args: Any, **options: Any) -> Response | None:
        if response.status_code < 300 and not self.owner.in_storm:
            return None
        return self.owner.answer(response, self, options)

    def __repr__(self) -> str:
        return f"<hook of {self.owner!r}>"

    def __copy__(self) -> TokenHook:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenHook:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _Spent, ()

    def is_on(self, request: PreparedRequest) -> bool:
        """Return whether *request* carries this hook's token."""
        return self.token is not None and request.headers.get(self.owner.header) == self.token.authorization

    def give_way(self, request: PreparedRequest, token: Token) -> TokenHook:
        """Put the hook of *token* in this one's place, for the redirects that may follow; return it."""
        other = TokenHook(self.owner, token)
        hooks = [other if hook is self else hook for hook in hooks_of(request)]
        request.hooks = {**request.hooks, "response": hooks}  # copies of the request keep theirs
        return other


class _Spent:
    """What a hook is in a pickle."""

    def __call__(self, response: Response, *args: Any, **options: Any) -> None:
        """Leave the answer as it is."""


def hooks_of(request: PreparedRequest) -> list[Any]:
    """Return the response hooks of *request*; none where somebody put what is no list in their place."""
    hooks = request.hooks.get("response") if request.hooks else None
    return hooks if isinstance(hooks, list) else []
