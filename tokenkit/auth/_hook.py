"""The response hook by which a request knows the token that it carries."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol, final

from requests import PreparedRequest, Response

from tokenkit._guard import Guard
from tokenkit._per_process import PerProcess
from tokenkit.auth._resend import Options
from tokenkit.tokens import Token

__all__ = ["CHANGING", "Answers", "TokenHook", "change_hooks", "hooks_of"]

# Held while a request that several threads may send is changed: what is found on it, and what is put there for it.
CHANGING = PerProcess(Guard)


class Answers(Protocol):
    """What a hook asks of the auth that made it."""

    @property
    def header(self) -> str:
        """The header that holds the token."""

    @property
    def weighs_answers(self) -> bool:
        """Whether even good answers are of interest."""

    def fields(self, token: Token) -> Mapping[str, str]:
        """Return all headers that go with *token*, its own first."""

    def answer(self, response: Response, hook: TokenHook, options: Options) -> Response | None:
        """Return what the caller is to get; None for *response* as it is."""

    def heal(self, response: Response, hook: TokenHook, options: Options) -> Response | None:
        """Return what the caller is to get where the request was sent while the token was off it."""

    def may_carry(self, request: PreparedRequest, direct: bool = False) -> bool:
        """Return whether the request gets a token."""

    def may_follow(self, came_from: str, url: str) -> bool:
        """Return whether the token may go on from one URL to the other."""


@final
class TokenHook:
    """The hook of the requests with one token: made once a token, so that a request allocates nothing.

    Immutable. Redirected requests have the hooks of the first one, so each is asked whether it still carries the
    token. Pickled, it is a hook that does nothing: an answer must pickle whatever its token came from.
    """

    __slots__ = ("auth", "extra", "header", "token", "value")

    def __init__(self, auth: Answers, token: Token) -> None:
        self.auth = auth
        self.token = token
        (self.header, self.value), *extra = auth.fields(token).items()
        self.extra = tuple(extra)

    def __call__(self, response: Response, *args: Any, **options: Any) -> Response | None:
        if response.status_code < 300 and not self.auth.weighs_answers:
            return None
        return self.auth.answer(response, self, options)

    def __repr__(self) -> str:
        return f"<hook of {self.auth!r}>"

    def __copy__(self) -> TokenHook:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenHook:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _Spent, ()

    def is_on(self, request: PreparedRequest) -> bool:
        """Return whether *request* carries this hook's token."""
        return request.headers.get(self.header) == self.value

    def put_on(self, headers: MutableMapping[str, str]) -> None:
        """Put the token into *headers*, and what goes with it, unless that is there already."""
        headers[self.header] = self.value
        for name, value in self.extra:
            headers.setdefault(name, value)

    def strip_credentials(self, headers: MutableMapping[str, str]) -> None:
        """Take out of *headers* what this hook has put there."""
        for name, value in ((self.header, self.value), *self.extra):
            if headers.get(name) == value:
                del headers[name]

    def replace_token(self, request: PreparedRequest, other: TokenHook) -> None:
        """Put *other* and its token in the place of this one and its own; other threads may be sending *request*."""
        # The hook first: who looks in between finds either the old token or who brought the new one.
        change_hooks(request, [other if one is self else one for one in hooks_of(request)])
        headers = request.headers.copy()
        self.strip_credentials(headers)
        other.put_on(headers)
        request.headers = headers


class _Spent:
    """What a hook is in a pickle."""

    def __call__(self, response: Response, *args: Any, **options: Any) -> None:
        """Leave the answer as it is."""


def hooks_of(request: PreparedRequest) -> list[Any]:
    """Return the response hooks of *request*, in whatever form requests would take them."""
    hooks = request.hooks.get("response") if request.hooks else None
    return [hooks] if callable(hooks) else list(hooks or ())


def change_hooks(request: PreparedRequest, hooks: list[Any]) -> None:
    """Give *request* these response hooks; its copies, which share what it had, keep that."""
    request.hooks = {**(request.hooks or {}), "response": hooks}
