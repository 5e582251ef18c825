"""Where a token may go when an answer redirects: what requests would do, and what the origins say.

requests drops ``Authorization``, and no other header, on the way to another host. It keeps it from http to https.
"""

from __future__ import annotations

import copy
from urllib.parse import urljoin, urlparse, urlsplit

from requests import PreparedRequest, Response
from requests.exceptions import InvalidURL
from requests.sessions import SessionRedirectMixin
from requests.utils import requote_uri

from tokenkit.auth._hook import Owner, TokenHook, hooks_of

__all__ = ["keep_within_origins", "redirect_target", "strip_credentials", "was_sent"]

_REQUESTS = SessionRedirectMixin()


def keep_within_origins(response: Response, owner: Owner) -> Response | None:
    """Take *owner*'s token off the request of *response*, where that leads to what must not get it.

    Args:
        response: A redirect.
        owner: Whose token its request carries.

    Returns:
        What the caller is to get in place of *response*: where a cache gave that, nobody knows here which request
        will be redirected, and so it is not followed. None: the answer as it is.

    Raises:
        requests.exceptions.InvalidURL: It leads nowhere.
    """
    request, header = response.request, owner.header
    here, target = request.url or "", redirect_target(response) or ""
    if owner.may_follow(here, target):
        return None
    if header.lower() == "authorization" and _REQUESTS.should_strip_auth(here, target):  # type: ignore[no-untyped-call]  # in the stubs
        return None  # requests takes it off the next request and leaves this one as it was sent
    if was_sent(request):
        response.request = request.copy()
        request.headers.pop(header, None)
        return None
    ended = copy.copy(response)
    ended.headers = response.headers.copy()
    del ended.headers["Location"]
    return ended


def was_sent(request: object) -> bool:
    """Return whether this is the request that got an answer, rather than a cache's record of an earlier one."""
    return isinstance(request, PreparedRequest)


def strip_credentials(request: PreparedRequest, came_from: str, *, leaves_host: bool) -> None:
    """Take off *request* each credential that may not go where it was redirected to.

    Args:
        request: The next one.
        came_from: The URL that redirects.
        leaves_host: Whether requests would drop ``Authorization``.
    """
    kept = set()
    for hook in hooks_of(request):
        if isinstance(hook, TokenHook) and hook.is_on(request):
            header = hook.owner.header
            if hook.owner.may_follow(came_from, request.url or ""):
                kept.add(header.lower())
            else:
                del request.headers[header]
    if leaves_host and "authorization" not in kept:
        request.headers.pop("Authorization", None)


def redirect_target(response: Response) -> str | None:
    """Return where requests would go; None where it would stay.

    Raises:
        requests.exceptions.InvalidURL: That is no URL. requests would raise the ValueError of whatever it tried first.
    """
    try:
        location = _REQUESTS.get_redirect_target(response)
        if location is None:
            return None
        # As its resolve_redirects() does, oddities included: to that, '////host' is another host.
        if location.startswith("//"):
            location = f"{urlsplit(response.url).scheme}:{location}"
        parsed = urlparse(location)
        target = requote_uri(parsed.geturl())
        if not parsed.netloc:
            target = urljoin(response.url, target)
        _ = urlsplit(target).port  # looked at by requests, and only now by urllib
    except ValueError:  # not UTF-8, or no URL; it may hold a secret
        response.close()
        raise InvalidURL("the answer redirects to what is no URL", response=response) from None
    return target
