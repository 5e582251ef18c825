"""What requests' own HTTPDigestAuth does with a challenge, as scenarios of our own against BearerAuth.

It is the handler that every 401 hook is modelled on. The table in the docs (how-to, requests) lists the differences.
"""

import io
import threading
from collections.abc import Iterator

import pytest
import requests
from support.protected import Issuer, Reply, Resource, Seen, managed, path_of

from tokenkit.auth import BearerAuth


@pytest.fixture
def session(mint: Issuer) -> Iterator[requests.Session]:
    with managed(mint) as manager, requests.Session() as session:
        session.auth = BearerAuth(manager, max_refresh_attempts=1)
        manager.get_token()
        mint.revoke()
        yield session


def test_same_a_rejection_is_answered_once(session: requests.Session, api: Resource) -> None:
    """With one attempt: a second 401 is the caller's."""
    api.behave = lambda seen: Reply(401)
    assert 401 == session.get(api.url).status_code
    assert 2 == len(api.seen)


def test_same_the_count_begins_anew_on_a_redirect(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """A hop that rejects after another one did gets its own attempt."""

    def behave(seen: Seen) -> Reply:
        if path_of(seen) == "/start":
            return Reply(302, {"Location": "/end"}) if seen.token == "Bearer token-2" else Reply(401)
        return Reply(200 if seen.token == "Bearer token-3" else 401)

    api.behave = behave
    assert 200 == session.get(f"{api.url}/start").status_code


@pytest.mark.parametrize("status", [200, 304, 500])
def test_same_a_challenge_with_another_status_starts_nothing(
    session: requests.Session, api: Resource, status: int
) -> None:
    """The status decides, not the header."""
    api.behave = lambda seen: Reply(status, {"WWW-Authenticate": 'Bearer error="invalid_token"'}, b"")
    assert status == session.get(api.url).status_code
    assert 1 == len(api.seen)


def test_same_cookies_of_the_challenge_are_kept(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """On the second request and in the session."""
    api.behave = lambda seen: Reply() if seen.token in mint.good else Reply(401, {"Set-Cookie": "a=b"})
    session.get(api.url)
    assert ("a=b", {"a": "b"}) == (api.seen[1].headers["cookie"], session.cookies.get_dict())


def test_same_a_stream_is_left_unread(session: requests.Session, api: Resource) -> None:
    """The second answer's body is still to be read."""
    with session.get(api.url, stream=True) as response:
        assert b"{}" == response.raw.read()


def test_same_the_challenge_is_in_the_history(session: requests.Session, api: Resource) -> None:
    """The first answer, with its content."""
    assert [b'{"error": "no"}'] == [one.content for one in session.get(api.url).history]


def test_same_a_file_goes_back_to_where_it_stood(session: requests.Session, api: Resource) -> None:
    """And not to its beginning."""
    body = io.BytesIO(b"headbody")
    body.seek(4)
    session.post(api.url, data=body)
    assert [b"body", b"body"] == [seen.body for seen in api.seen]


def test_differs_nothing_is_kept_between_requests(mint: Issuer, api: Resource) -> None:
    """There a count per thread is kept on the auth object; here two objects in one thread do not disturb each other."""
    api.behave = lambda seen: Reply(401)
    with managed(mint) as manager:
        auth = BearerAuth(manager, max_refresh_attempts=1)

        def again(response: requests.Response, **options: object) -> None:
            if "nested" not in str(response.url):
                requests.get(f"{api.url}/nested", auth=auth, timeout=10)

        requests.get(api.url, auth=auth, hooks={"response": again}, timeout=10)
    assert 4 == len(api.seen)


def test_differs_hooks_see_only_what_is_final(session: requests.Session, api: Resource) -> None:
    """There too; but here also where the request had its hooks before it was authorised."""
    statuses: list[int] = []
    request = requests.Request("GET", api.url).prepare()
    request.register_hook("response", lambda response, **options: statuses.append(response.status_code))
    session.send(session.auth(request))  # type: ignore[operator]
    assert [200] == statuses


def test_differs_the_next_hop_has_the_new_credential(session: requests.Session, api: Resource, mint: Issuer) -> None:
    """There the redirect is built from the first request, which had none."""
    api.behave = lambda seen: (
        Reply(302, {"Location": "/end"}) if seen.token in mint.good and path_of(seen) == "/start" else api.protect(seen)
    )
    session.get(f"{api.url}/start")
    assert ["Bearer token-1", "Bearer token-2", "Bearer token-2"] == api.tokens


def test_differs_a_spent_body_is_not_sent_again(session: requests.Session, api: Resource) -> None:
    """There a generator goes out a second time, empty."""
    assert 401 == session.post(api.url, data=iter([b"a"])).status_code
    assert 1 == len(api.seen)


def test_differs_one_object_serves_all_threads(mint: Issuer, api: Resource) -> None:
    """There each thread begins with a challenge of its own; here all share the one renewal."""
    statuses: list[int] = []
    with managed(mint) as manager:
        auth = BearerAuth(manager)
        manager.get_token()
        mint.revoke()
        threads = [
            threading.Thread(target=lambda: statuses.append(requests.get(api.url, auth=auth, timeout=10).status_code))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ([200] * 16, 2) == (statuses, mint.given)
