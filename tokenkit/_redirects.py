"""Where a token may go when an answer redirects: what requests would do, and what the origins say.

requests drops ``Authorization``, and no other header, on the way to another host. It keeps it from http to https.
"""

from __future__ import annotations

from urllib.parse import urljoin

from requests import PreparedRequest, Response
from requests.sessions import SessionRedirectMixin
from requests.utils import requote_uri

from tokenkit._hook import Owner, TokenHook

__all__ = ["follows", "stop_at_border"]

_REQUESTS = SessionRedirectMixin()


def stop_at_border(response: Response, request: PreparedRequest, owner: Owner) -> None:
    """Take *owner*'s token off *request* where *response* leads to what must not get it.

    Args:
        response: A redirect.
        request: What it answers, which the next request will be made from.
        owner: Whose token *request* carries.
    """
    header, here, target = owner.header, request.url or "", _target(response)
    if target is not None:
        if owner.may_follow(here, target):
            return
        if header.lower() == "authorization" and _REQUESTS.should_strip_auth(here, target):  # type: ignore[no-untyped-call]  # in the stubs
            return  # requests takes it off the next request and leaves this one as it was sent
    response.request = request.copy()
    request.headers.pop(header, None)


def follows(request: PreparedRequest, response: Response) -> bool:
    """Return whether *request*, to which *response* redirects, may go on with the token that got there."""
    before = response.request
    hooks = [hook for hook in before.hooks["response"] if isinstance(hook, TokenHook) and hook.is_on(before)]
    return any(hook.owner.may_follow(before.url or "", request.url or "") for hook in hooks)


def _target(response: Response) -> str | None:
    """Return where requests would go; None where that is not clear."""
    try:
        location = _REQUESTS.get_redirect_target(response)
        return None if location is None else requote_uri(urljoin(response.url, location))
    except ValueError:  # not UTF-8, or no URL
        return None
