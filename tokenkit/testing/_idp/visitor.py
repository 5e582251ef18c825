"""A person with a browser, for tests: opens the page that was shown, fills in the form, and follows where it leads."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

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
    with requests.Session() as browser:
        browser.trust_env = False
        # A browser follows the redirect to the program's own page.
        return browser.post(page._replace(query="").geturl(), data=form, timeout=_PATIENCE).status_code
