"""A person with a browser, for tests: opens the page that was shown, fills in the form, and follows where it leads.

Not by requests: urllib3 logs each path at DEBUG, and the one that the browser lands on has an authorization code.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from urllib.parse import parse_qsl, urlencode, urlsplit

from tokenkit.testing._idp.authority import Authority

__all__ = ["visit"]

_PATIENCE = 10.0  # seconds for a page


def visit(authority: Authority, url: str, asked: str, username: str | None) -> int:
    """Answer at the page *asked*, or for the device code *asked* at *url*, as *username*; None says no.

    Returns:
        The status of the last page.
    """
    is_page = asked.startswith(url)
    page = urlsplit(asked if is_page else f"{url}/activate?{urlencode({'user_code': asked})}")
    form = dict(parse_qsl(page.query))
    form |= {"answer": "no"} if username is None else {"username": username, "password": authority.password(username)}
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        # It follows the redirect to the program's own page.
        with browser.open(page._replace(query="").geturl(), urlencode(form).encode(), _PATIENCE) as last:
            return int(last.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
