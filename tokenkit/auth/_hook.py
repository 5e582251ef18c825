"""The response hook by which a request knows the token that it carries."""

from __future__ import annotations

from typing import Any, Protocol, final

from requests import PreparedRequest, Response

from tokenkit.auth._resend import Options
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

    def was_on(self, request: PreparedRequest) -> bool:
        """Return whether *request* was sent with this hook's token: it carries that, or what has taken its place.

        Two threads may send one request, and the other may be ahead.
        """
        hooks = hooks_of(request)
        return self.is_on(request) or (
            self not in hooks and any(self._is_kin(one) and one.is_on(request) for one in hooks)
        )

    def _is_kin(self, hook: Any) -> bool:
        return isinstance(hook, TokenHook) and hook.owner is self.owner

    def replace_token(self, rejected: Response, token: Token) -> TokenHook:
        """Put *token* and its hook in the place of this one and its own; return that hook.

        The request object is changed in place, so that a redirect that follows is built from the new header, and so
        that it may be sent again whatever becomes of it now; *rejected* keeps a copy of it as it was sent.
        """
        request, other = rejected.request, TokenHook(self.owner, token)
        rejected.request = request.copy()
        hooks = [other if self._is_kin(hook) else hook for hook in hooks_of(request)]
        # The hook first: was_on(), in another thread, finds either the old token or who brought the new one.
        request.hooks = {**request.hooks, "response": hooks}  # copies of the request keep theirs
        request.headers[self.owner.header] = token.authorization
        return other


class _Spent:
    """What a hook is in a pickle."""

    def __call__(self, response: Response, *args: Any, **options: Any) -> None:
        """Leave the answer as it is."""


def hooks_of(request: PreparedRequest) -> list[Any]:
    """Return the response hooks of *request*, in whatever form requests would take them."""
    hooks = request.hooks.get("response") if request.hooks else None
    return [hooks] if callable(hooks) else list(hooks or ())
