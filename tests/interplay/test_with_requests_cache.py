"""With requests-cache: what it serves costs no token, and it never keeps a rejection."""

from collections.abc import Iterator

import needs
import pytest
from protected import Mint, Reply, Resource, managed

from tokenkit.auth import BearerAuth

requests_cache = needs.module("requests_cache")


@pytest.fixture
def session(mint: Mint) -> Iterator[object]:
    with managed(mint) as manager, requests_cache.CachedSession(backend="memory") as session:
        session.auth = BearerAuth(manager)
        yield session


def test_a_cached_answer_needs_no_token_of_its_own(session: object, api: Resource, mint: Mint) -> None:
    """It is served without a request, without a call for a token, and although the token was revoked."""
    session.get(api.url)  # type: ignore[attr-defined]
    mint.revoke()
    mint.failing = True
    assert session.get(api.url).from_cache  # type: ignore[attr-defined]
    assert (1, 1) == (len(api.seen), mint.given)


def test_a_rejection_is_not_cached(session: object, api: Resource, mint: Mint) -> None:
    """The answer to the second request is."""
    session.auth.manager.get_token()  # type: ignore[attr-defined]
    mint.revoke()
    assert 200 == session.get(api.url).status_code  # type: ignore[attr-defined]
    assert [200] == [one.status_code for one in session.cache.filter()]  # type: ignore[attr-defined]
    assert session.get(api.url).from_cache  # type: ignore[attr-defined]


def test_a_rejection_that_stays_is_asked_for_again(session: object, api: Resource) -> None:
    """A 401 that the caller got is no answer to the next request."""
    api.behave = lambda seen: Reply(401)
    for _ in range(2):
        assert not getattr(session.get(api.url), "from_cache", False)  # type: ignore[attr-defined]
    assert 6 == len(api.seen)
