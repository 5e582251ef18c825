"""No output of a fetcher shows a secret, and a pickle holds none by accident."""

import copy
import logging
import multiprocessing
import pickle
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support import children

from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import TokenKitError
from tokenkit.fetchers import (
    BodyTokenFetcher,
    CallableTokenFetcher,
    ClientCredentialsFetcher,
    CommandTokenFetcher,
    EnvTokenFetcher,
    FileTokenFetcher,
    HeaderTokenFetcher,
    HttpTokenFetcher,
    JwtBearerFetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    StaticTokenFetcher,
    TokenExchangeFetcher,
)
from tokenkit.testing import LocalIdP
from tokenkit.tokens import Token

URL = "https://idp.example"
CANARY = "canary-0123456789"


def secret() -> str:
    return CANARY


def secrets() -> dict[str, str]:
    return {"key": CANARY}


def with_url(url: str, value: Any, fields: Any) -> list[TokenFetcher]:
    client = {"token_url": f"{url}/token", "client_id": "client", "client_secret": value}
    public = {"token_url": f"{url}/token", "client_id": "client", "client_auth": "none"}
    steps = {"base_url": url, "endpoint": "token"}
    return [
        HttpTokenFetcher("a", **steps, request_data=fields),
        BodyTokenFetcher("a", **steps, request_headers=fields),
        HeaderTokenFetcher("a", **steps, request_data=fields, content_type="json"),
        ClientCredentialsFetcher(**client),
        ClientCredentialsFetcher(**client, client_auth="client_secret_post"),
        PasswordFetcher(**public, username="alice", password=value),
        RefreshTokenFetcher(**public, refresh_token=value),
        JwtBearerFetcher(token_url=f"{url}/token", assertion=value),
        TokenExchangeFetcher(token_url=f"{url}/token", subject_token=value, actor_token=value),
    ]


LITERAL = [
    *with_url(URL, CANARY, {"key": CANARY}),
    StaticTokenFetcher(CANARY),
    CommandTokenFetcher(["true"], env={"KEY": CANARY}),
    HttpTokenFetcher("a", URL, "", proxies={"https": f"http://user:{CANARY}@proxy.example"}),
    JwtBearerFetcher(token_url=URL, issuer="i", subject="s", key=CANARY),
    ClientCredentialsFetcher(token_url=URL, client_id="c", client_auth="private_key_jwt", client_key=CANARY),
]
CALLABLE = [
    *with_url(URL, secret, secrets),
    CommandTokenFetcher(["true"], env=secrets),
    CallableTokenFetcher(secret),  # type: ignore[arg-type]  # never called
    EnvTokenFetcher("PATH"),
    FileTokenFetcher(__file__),
    ClientCredentialsFetcher(token_url=URL, client_id="c", client_auth="private_key_jwt", client_key=secret),
]


@pytest.mark.parametrize("source", LITERAL, ids=repr)
def test_a_literal_secret_refuses_to_be_pickled(source: TokenFetcher) -> None:
    """The error names the argument and the way out."""
    with pytest.raises(TypeError, match=r"it holds the secret \w+=; .*a function at module level") as caught:
        pickle.dumps(source)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("source", CALLABLE, ids=repr)
def test_a_secret_given_by_a_function_is_not_in_the_pickle(source: TokenFetcher) -> None:
    """The twin is configured alike, and has a transport of its own."""
    data = pickle.dumps(source)
    assert CANARY.encode() not in data
    assert repr(source) == repr(pickle.loads(data))


@pytest.mark.parametrize("source", LITERAL + CALLABLE, ids=repr)
def test_any_fetcher_can_be_copied(source: TokenFetcher) -> None:
    """In this process that spreads no secret; containers are copied with it."""
    for twin in (copy.copy(source), copy.deepcopy(source)):
        assert twin is not source
        assert repr(source) == repr(twin)
        assert source in CALLABLE or source.cache_key == twin.cache_key  # a function is each object's own
        transport = getattr(source, "_transport", None) or getattr(source, "_client", None)
        assert transport is None or transport is not (getattr(twin, "_transport", None) or twin._client)


def test_a_copy_shares_no_dictionary() -> None:
    """To change one does not change the other."""
    source = HttpTokenFetcher("a", URL, "", request_data={"deep": {"key": "1"}})
    twin = copy.deepcopy(source)
    twin.request_data["deep"]["key"] = "2"  # type: ignore[index]  # a mapping here
    assert {"deep": {"key": "1"}} == source.request_data


def test_a_session_of_the_users_is_shared_by_copies_and_never_pickled() -> None:
    """It is the user's; a pickle could hold cookies and passwords."""
    with requests.Session() as session:
        source = HttpTokenFetcher("a", URL, "", session=session)
        assert session is copy.deepcopy(source).session
        with pytest.raises(TypeError, match="session="):
            pickle.dumps(source)


@pytest.mark.slow
def test_a_spawned_child_gets_the_secret() -> None:
    """Multiprocessing hands it over a private pipe."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=children.fetch, args=(StaticTokenFetcher(CANARY), theirs))
    child.start()
    assert ours.poll(30)
    assert CANARY == ours.recv()
    child.join(30)


def test_an_unpickled_fetcher_works() -> None:
    """All that a copy does not take along is made anew."""
    with LocalIdP() as idp:
        source = ClientCredentialsFetcher(token_url=idp.token_url, client_id="client", client_secret=_the_idps_secret)
        assert idp.is_active(pickle.loads(pickle.dumps(source)).fetch())


def _the_idps_secret() -> str:
    return "secret"


# Nothing is shown


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        yield from chain(error.__cause__)
        error = error.__context__


FAULTS: list[dict[str, Any]] = [
    {"status": 400, "body": {"error": "invalid_grant", "error_description": CANARY}},
    {"status": 401, "body": f"<p>{CANARY}</p>".encode()},
    {"status": 500, "body": {"error": CANARY, "error_uri": CANARY}},
    {"status": 200, "body": f'{{"access_token": "{CANARY} "}}'.encode()},
    {"status": 200, "body": {"access_token": CANARY, "expires_in": "soon"}},
    {"status": 200, "body": f'["{CANARY}"]'.encode()},
    {"status": 200, "body": b"", "headers": {"Authorization": f"{CANARY} {CANARY}"}},
    {"status": 302, "headers": {"Location": f"https://evil.example/?{CANARY}"}},
    {"kind": "reset"},
    {"kind": "garbage"},
    {"kind": "truncate"},
    {"kind": "truncate_headers"},
    {"kind": "html"},
    {"kind": "gzip"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values()))[:30])
def test_no_failure_shows_a_secret(fault: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Not in the error, its chain, its traceback with locals, its pickle, a log record at DEBUG, or a warning."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    with LocalIdP() as idp, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        idp.fail("token", times=None, **fault)
        for source in with_url(idp.url, CANARY, {"key": CANARY}):
            source.retries = 0  # type: ignore[attr-defined]  # all of these have it
            source = copy.copy(source)
            try:
                source.fetch(FetchContext())
            except TokenKitError as error:
                source.on_fetch_error(error)
                for one in chain(error):
                    shown += [repr(one), str(one), repr(vars(one)), repr(one.args)]
                shown += traceback.TracebackException.from_exception(error, capture_locals=True).format()
                shown.append(repr(pickle.dumps(error)))
            shown += [repr(source), str(source), source.cache_key]
    shown += [record.getMessage() + repr(record.args) for record in caplog.records]
    shown += [str(one.message) for one in warned]
    ours = [text for text in shown if CANARY in text and __file__ not in text]
    assert [] == ours


def test_a_command_gets_no_secret_in_its_arguments() -> None:
    """What the environment brings is not in the list of processes."""
    source = CommandTokenFetcher(["sh", "-c", "tr '\\0 ' '__' < /proc/$$/cmdline"], env={"KEY": CANARY})
    assert CANARY not in source.fetch().access_token


def test_a_failing_tls_handshake_is_named() -> None:
    """Without what was to be sent."""
    with LocalIdP() as idp:
        source = PasswordFetcher(
            token_url=idp.token_url.replace("http:", "https:"),
            client_id="c",
            client_auth="none",
            username="u",
            password=CANARY,
        )
        with pytest.raises(TokenKitError, match="TLS failure") as caught:
            source.fetch()
    assert CANARY not in repr(vars(caught.value))


def test_a_token_may_be_given_as_a_token() -> None:
    """A pickle of it would hold the secret all the same."""
    with pytest.raises(TypeError, match="token="):
        pickle.dumps(StaticTokenFetcher(Token(CANARY)))
