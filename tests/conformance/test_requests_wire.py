"""What a server sees, and what the caller gets: the same as from a plain Session with an auth of requests' own kind.

Each scenario is run on one real server with that, and with one of ours, and both must tell the same: header fields in
their order, bodies, redirects, cookies, hooks.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from support.protected import Issuer, Reply, Resource, managed

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.manager import TokenManager

Told = list[Any]
Scenario = Callable[[requests.Session, str, Told], Any]


class Plain(AuthBase):
    """As ``HTTPBasicAuth``, with other words."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization"] = "Bearer token-1"
        return r


def plain(manager: TokenManager) -> requests.Session:
    session = requests.Session()
    session.auth = Plain()
    return session


def with_auth(manager: TokenManager) -> requests.Session:
    session = requests.Session()
    session.auth = BearerAuth(manager)
    return session


def waiting(manager: TokenManager) -> requests.Session:
    """One that has no token yet when it prepares."""
    return AuthorizedSession(manager)


def ready(manager: TokenManager) -> requests.Session:
    manager.get_token()
    return AuthorizedSession(manager)


@pytest.fixture
def manager() -> Iterator[TokenManager]:
    with managed(Issuer()) as manager:
        yield manager


@pytest.fixture
def api(api: Resource) -> Resource:
    """A server with a page that sets a cookie, and pages that redirect."""

    def behave(seen: Any) -> Reply:
        kind, _, rest = seen.path.lstrip("/").partition("/")
        headers = {"Set-Cookie": "mood=good; Path=/", "X-Method": seen.method}
        if kind.isdigit():
            return Reply(int(kind), {**headers, "Location": f"{api.elsewhere if rest == 'away' else ''}/end"})
        return Reply(200, headers, b"" if seen.method == "HEAD" else b'{"a": "\xc3\xa9"}')

    api.behave = behave
    return api


def sends(method: str, path: str = "/x?y=1", **options: Any) -> Scenario:
    return lambda session, url, told: session.request(method, url + path, **_made(options))


def _made(options: dict[str, Any]) -> dict[str, Any]:
    # What is read once is made for each run.
    return {name: value() if callable(value) else value for name, value in options.items()}


def verb(name: str, **options: Any) -> Scenario:
    return lambda session, url, told: getattr(session, name)(f"{url}/302/here", **options)


def hooks(session: requests.Session, url: str, told: Told) -> Any:
    session.hooks["response"] = [lambda answer, *_, **given: told.append(("session", answer.url, sorted(given)))]
    own = {"response": lambda answer, *_, **__: told.append(("request", answer.url))}
    session.get(f"{url}/302/here")
    return session.get(f"{url}/302/away", hooks=own)


def merging(session: requests.Session, url: str, told: Told) -> Any:
    session.headers.update({"X-Session": "1", "Accept": "text/plain"})
    session.params = {"page": "1"}
    session.cookies.set("kept", "1")
    session.get(f"{url}/one", headers={"Accept": None, "X-Own": "2"}, params={"own": "2"}, cookies={"once": "1"})
    session.get(f"{url}/two", headers={"Authorization": "overwritten"})
    return session.get(f"{url}/three", params={"page": None})


def another_auth(session: requests.Session, url: str, told: Told) -> Any:
    session.get(f"{url}/one", auth=("joe", "secret"))
    session.get(f"{url.replace('//', '//joe:secret@')}/two")
    session.auth = None
    return session.get(f"{url.replace('//', '//joe:secret@')}/three")


def prepared(session: requests.Session, url: str, told: Told) -> Any:
    request = session.prepare_request(requests.Request("POST", f"{url}/307/here", json={"a": 1}))
    settings = session.merge_environment_settings(request.url, {}, None, None, None)
    told.append((request.method, request.url, request.body, settings["verify"]))
    session.send(request, **settings)
    return session.send(request, allow_redirects=False)


def next_by_hand(session: requests.Session, url: str, told: Told) -> Any:
    answer = session.get(f"{url}/302/here", allow_redirects=False)
    told.append(answer.next.url)
    return session.send(answer.next)


def adapters(session: requests.Session, url: str, told: Told) -> Any:
    class Telling(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
            given = {**options, "proxies": dict(options["proxies"]), "timeout": "ours has a default"}
            told.append((request.method, request.url, sorted(given.items())))
            return super().send(request, *args, **options)

    session.mount(f"{url}/302", Telling())
    session.get(f"{url}/plain")
    return session.get(f"{url}/302/here", verify=False, stream=True)


def by_proxy(session: requests.Session, url: str, told: Told) -> Any:
    there = "http://localhost:9/x"  # nobody is there, but for the proxy
    session.get(there, proxies={"http": url})
    session.proxies = {"http://localhost": url.replace("//", "//name:word@")}
    return session.get(there)


SCENARIOS: dict[str, Scenario] = {
    **{name: verb(name) for name in ("get", "options", "head", "post", "put", "patch", "delete")},
    "head, redirected": verb("head", allow_redirects=True),
    "form": sends("POST", data={"a": ["1", "2"], "b": "é"}),
    "json": sends("POST", json={"a": None}),
    "text": sends("PUT", data="é"),
    "bytes": sends("PATCH", data=b"\x00"),
    "file": sends("POST", data=lambda: io.BytesIO(b"file")),
    "iterator": sends("POST", data=lambda: iter([b"a", b"b"])),
    "parts": sends("POST", data={"a": "1"}, files=lambda: {"f": ("f.txt", io.BytesIO(b"part"), "text/plain")}),
    "parameters": sends("GET", params=[("a", "1 2"), ("a", "é")]),
    "odd path": sends("GET", "/a/../b//c%2f?x=%zz#part"),
    "stream": sends("GET", stream=True),
    **{f"{status} {where}": sends("POST", f"/{status}/{where}", data="x")
       for status in (301, 303, 307, 308) for where in ("here", "away")},
    "an error": sends("GET", "/503/x"),
    "hooks": hooks,
    "merging": merging,
    "another auth": another_auth,
    "prepared": prepared,
    "next": next_by_hand,
    "adapters": adapters,
    "proxy": by_proxy,
}  # fmt: skip


def run(
    kind: Callable[[TokenManager], requests.Session], manager: TokenManager, api: Resource, scenario: Scenario
) -> Told:
    """Return all that can be seen of a scenario, from both ends."""
    told: Told = []
    api.seen.clear()
    with kind(manager) as session:
        answer = scenario(session, api.url, told)
        last = answer.request
        told += [
            answer.status_code,
            answer.reason,
            answer.url,
            answer.content,
            answer.encoding,
            answer.headers["X-Method"],
        ]
        told += [[(one.status_code, one.url, one.request.method) for one in answer.history], answer.is_redirect]
        told += [answer.cookies.get_dict(), session.cookies.get_dict(), dict(last.headers), last.url, last.method]
        told += [last.body if isinstance(last.body, (str, bytes)) else None, answer.elapsed.total_seconds() > 0]
    told += [(seen.method, seen.host, seen.path, list(seen.headers.items()), seen.body) for seen in api.seen]
    return [re.sub(r"[0-9a-f]{32}|date', '[^']*", "~", repr(one)) for one in told]


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", [with_auth, waiting])
def test_both_ends_see_the_same(
    manager: TokenManager, api: Resource, name: str, kind: Callable[[TokenManager], requests.Session]
) -> None:
    """The token's header field stands where any other auth's would."""
    assert run(plain, manager, api, SCENARIOS[name]) == run(kind, manager, api, SCENARIOS[name])


def test_a_kept_connection_serves_all_kinds_of_auth(manager: TokenManager, api: Resource) -> None:
    """As many connections as without an auth: one."""
    with ExitStack() as stack:
        for kind in (plain, with_auth, ready):
            before, session = api.connections, stack.enter_context(kind(manager))
            for _ in range(3):
                session.get(f"{api.url}/302/here")
            assert 1 == api.connections - before
