"""Where a token may go when an answer redirects: what requests would do, and what the origins say.

requests drops ``Authorization``, and no other header, on the way to another host. It keeps it from http to https.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from urllib.parse import urljoin, urlparse, urlsplit

from requests import Response
from requests.exceptions import InvalidURL
from requests.sessions import SessionRedirectMixin
from requests.utils import requote_uri

__all__ = ["redirect_target", "without_location"]

_REQUESTS = SessionRedirectMixin()


def without_location(response: Response, may_follow: Callable[[str, str], bool]) -> Response | None:
    """Return what the caller is to get in place of a redirect that a cache gave; None for the redirect as it is.

    Nobody knows here which request will be redirected, nor whether its session takes ``Authorization`` off, so a token
    is kept from following by not letting requests know where to go.

    Raises:
        requests.exceptions.InvalidURL: It leads nowhere.
    """
    here, target = response.request.url or "", redirect_target(response) or ""
    if may_follow(here, target):
        return None
    ended = copy.copy(response)
    ended.headers = response.headers.copy()
    del ended.headers["Location"]
    return ended


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
