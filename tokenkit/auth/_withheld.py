"""Taking credentials off a request that an answer redirects to where they must not go, and putting them back.

requests builds the next request as a copy of the one it was given, once all hooks have run. It drops ``Authorization``
there, but no other header, and a session class may drop nothing. So the request itself has to be without them until it
was copied; it may be kept by its owner, and other threads may be sending it.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, final

from requests import PreparedRequest, Response

from tokenkit.auth._hook import CHANGING, Answers, TokenHook, change_hooks, hooks_of

__all__ = [
    "Withheld",
    "exchange",
    "hook_on",
    "keep_within_rules",
    "restore",
    "sent_request",
    "strip_credentials",
    "withhold",
]


@final
class Withheld:
    """Stands in the place of a hook while its token is off: on the request, and on the copies that requests makes.

    Each redirect is one thread's: once the answer of its next request is there, the copy has been made. One that gets
    no answer leaves the request without its token; a 401 of it is then answered with one, and no copy's is.
    """

    __slots__ = ("_leading", "_request", "hook")

    def __init__(self, hook: TokenHook, request: PreparedRequest) -> None:
        self._request = weakref.ref(request)
        # Guarded by CHANGING:
        self.hook = hook  # what is put back
        self._leading: list[tuple[int, str]] = []  # the redirects under way: of which thread, and to where

    def __call__(self, response: Response, *args: Any, **options: Any) -> Response | None:
        request = sent_request(response)
        if request is None:
            return None
        original = self._request()
        if request is original:
            return self.hook.auth.heal(response, self.hook, options)
        with CHANGING.get():
            step = (threading.get_ident(), _bare(request.url))
            if step in self._leading:
                self._leading.remove(step)
                if not self._leading and original is not None:
                    self._put_back(original)
        return None

    def __copy__(self) -> Withheld:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Withheld:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return self.hook.__reduce__()

    def lead_locked(self, target: str) -> None:
        """Note that the calling thread goes on to *target*."""
        self._leading.append((threading.get_ident(), _bare(target)))

    def restore_locked(self, request: PreparedRequest) -> None:
        """Put the token back whatever is under way, if *request* is the one it was taken off."""
        if self._request() is request:
            self._put_back(request)

    def _put_back(self, request: PreparedRequest) -> None:
        headers = request.headers.copy()
        if self.hook.header not in headers:  # else its owner has written one of his own meanwhile
            self.hook.put_on(headers)
        request.headers = headers
        change_hooks(request, [self.hook if one is self else one for one in hooks_of(request)])


def sent_request(response: Response) -> PreparedRequest | None:
    """Return the request that *response* answers; None where that is a cache's record of an earlier one."""
    request: object = response.request
    if not isinstance(request, PreparedRequest):
        request = getattr(request, "_request", None)  # requests-mock wraps the one that it was given
    return request if isinstance(request, PreparedRequest) else None


def hook_on(request: PreparedRequest, auth: Answers) -> TokenHook | Withheld | None:
    """Return the hook of *auth* among those of *request*."""
    for one in hooks_of(request):
        if isinstance(one, (TokenHook, Withheld)) and _auth_of(one) is auth:
            return one
    return None


def withhold(request: PreparedRequest, hook: TokenHook, target: str) -> None:
    """Take *hook*'s token off *request*, which the calling thread is being redirected from to *target*."""
    with CHANGING.get():
        there = hook_on(request, hook.auth)
        if isinstance(there, Withheld):
            there.lead_locked(target)
            return
        hook = there or hook
        withheld = Withheld(hook, request)
        withheld.lead_locked(target)
        change_hooks(request, [withheld if one is hook else one for one in hooks_of(request)])
        headers = request.headers.copy()
        hook.strip_credentials(headers)
        request.headers = headers


def exchange(request: PreparedRequest, rejected: TokenHook, other: TokenHook) -> None:
    """Put *other*'s token in the place of a rejected one on *request*, unless another thread changed that meanwhile."""
    with CHANGING.get():
        there = hook_on(request, rejected.auth)
        if isinstance(there, Withheld):
            there.hook = other
        elif there is not None and there.is_on(request) and there.token is rejected.token:
            there.replace_token(request, other)


def restore(request: PreparedRequest) -> None:
    """Put back all that is withheld on *request*: for a session that takes it off each redirected one itself."""
    with CHANGING.get():
        _restore_locked(request)


def _restore_locked(request: PreparedRequest) -> None:
    for one in hooks_of(request):
        if isinstance(one, Withheld):
            one.restore_locked(request)


def keep_within_rules(request: PreparedRequest) -> None:
    """Take off *request* each token that its URL may not get: it was changed after it was prepared.

    Raises:
        ConfigurationError: Others could read the token on its way.
    """
    for hook in hooks_of(request):
        if isinstance(hook, TokenHook) and hook.is_on(request) and not hook.auth.may_carry(request, direct=True):
            with CHANGING.get():
                headers = request.headers.copy()
                hook.strip_credentials(headers)
                request.headers = headers


def strip_credentials(request: PreparedRequest, came_from: str, *, leaves_host: bool) -> None:
    """Take off *request*, which no other thread has, each credential that may not go where it was redirected to.

    Args:
        request: The next one.
        came_from: The URL that redirects.
        leaves_host: Whether requests would drop ``Authorization``.
    """
    kept = set()
    for one in hooks_of(request):
        hook = one.hook if isinstance(one, Withheld) else one
        if not isinstance(hook, TokenHook):
            continue
        if hook.auth.may_follow(came_from, request.url or ""):
            kept.add(hook.header.lower())
            continue
        # By their names: if another thread was changing both, the token need not be that of the hook.
        for name in (hook.header, *(name for name, _ in hook.extra)):
            request.headers.pop(name, None)
    if leaves_host and "authorization" not in kept:
        request.headers.pop("Authorization", None)


def _auth_of(hook: TokenHook | Withheld) -> Answers:
    return hook.auth if isinstance(hook, TokenHook) else hook.hook.auth


def _bare(url: str | None) -> str:
    return (url or "").partition("#")[0]  # requests carries the fragment of the request before over
