"""Requests of many tenants: each with the token of its own manager."""

import pickle
import threading
from collections.abc import Iterator

import pytest
import requests
from support.protected import Issuer, Reply, Resource

from tokenkit import (
    AuthorizedSession,
    BearerAuth,
    CallableTokenFetcher,
    ConfigurationError,
    RenewalStoppedError,
    Token,
    TokenManager,
)
from tokenkit.manager import ManagerPool


class Tenants:
    """Gives each tenant tokens of its own, and counts them."""

    def __init__(self) -> None:
        self.given: dict[str, int] = {}
        self.lock = threading.Lock()

    def make(self, tenant: str) -> TokenManager:
        def ask() -> Token:
            with self.lock:
                number = self.given[tenant] = self.given.get(tenant, 0) + 1
            return Token(f"{tenant}-{number}")

        return TokenManager(CallableTokenFetcher(ask, name=tenant))


@pytest.fixture
def tenants() -> Tenants:
    return Tenants()


@pytest.fixture
def pool(tenants: Tenants) -> Iterator[ManagerPool]:
    with ManagerPool(tenants.make, max_size=2) as made:
        yield made


def tenant_of(request: requests.PreparedRequest) -> str | None:
    return request.headers.get("X-Tenant")


def make_none(key: str) -> TokenManager:
    raise LookupError(key)


def sent(api: Resource) -> list[str]:
    return [str(one).removeprefix("Bearer ") for one in api.tokens]


@pytest.fixture(params=["plain session", "authorized session"])
def session(request: pytest.FixtureRequest, pool: ManagerPool) -> Iterator[requests.Session]:
    """One session whose requests say whose they are."""
    made = requests.Session() if request.param == "plain session" else AuthorizedSession(pool, key=tenant_of)
    with made:
        made.auth = BearerAuth(pool, key=tenant_of)
        yield made


def test_each_request_has_the_token_of_its_tenant(session: requests.Session, api: Resource, tenants: Tenants) -> None:
    """A function of the prepared request says whose it is."""
    api.behave = lambda seen: Reply()
    for tenant in ("acme", "umbrella", "acme"):
        assert 200 == session.get(api.url, headers={"X-Tenant": tenant}).status_code
    assert ["acme-1", "umbrella-1", "acme-1"] == sent(api)


def test_a_rejected_token_is_replaced_for_its_tenant_alone(
    session: requests.Session, api: Resource, tenants: Tenants
) -> None:
    """The others keep theirs."""
    revoked: set[str] = set()
    api.behave = lambda seen: Reply(401 if seen.token in revoked else 200)
    for tenant in ("acme", "umbrella"):
        session.get(api.url, headers={"X-Tenant": tenant})
    revoked.add("Bearer acme-1")
    for tenant in ("acme", "umbrella"):
        assert 200 == session.get(api.url, headers={"X-Tenant": tenant}).status_code
    assert {"acme": 2, "umbrella": 1} == tenants.given


def test_a_request_outlives_its_manager(pool: ManagerPool, api: Resource) -> None:
    """Where the pool has closed it since, a 401 is answered with a token of the next one."""
    api.behave = lambda seen: Reply(401 if seen.token == "Bearer acme-1" else 200)
    auth = BearerAuth(pool, key="acme")
    request = requests.Request("GET", api.url, auth=auth).prepare()
    pool.discard("acme")
    with requests.Session() as session:
        assert 200 == session.send(request).status_code
    assert ["acme-1", "acme-2"] == sent(api)


def test_a_key_may_be_the_same_for_all(pool: ManagerPool) -> None:
    """Then the auth has one manager, that of the key."""
    auth = BearerAuth(pool, key="acme")
    assert auth.manager is pool["acme"]
    request = requests.Request("GET", "https://api.example.com/", auth=auth).prepare()
    assert "Bearer acme-1" == request.headers["Authorization"]


def test_a_key_is_asked_for_where_there_is_a_token_to_give(pool: ManagerPool) -> None:
    """Requests to other origins have no tenant."""
    auth = BearerAuth(pool, key=tenant_of, origins=["https://api.example.com"])
    request = requests.Request("GET", "https://other.example.com/", auth=auth).prepare()
    assert "Authorization" not in request.headers


def test_no_key_is_no_tenant(pool: ManagerPool) -> None:
    """A request of nobody's is refused before it is sent, as an error of requests."""
    auth = BearerAuth(pool, key=tenant_of)
    with pytest.raises(requests.RequestException, match="key gave None") as caught:
        requests.Request("GET", "https://api.example.com/", auth=auth).prepare()
    assert isinstance(caught.value, ConfigurationError)
    assert "https://api.example.com/" == caught.value.request.url


def test_what_is_known_of_keys_is_bounded(pool: ManagerPool) -> None:
    """However many tenants come by."""
    auth = BearerAuth(pool, key=tenant_of)
    for number in range(300):
        headers = {"X-Tenant": str(number)}
        requests.Request("GET", "https://api.example.com/", headers=headers, auth=auth).prepare()
    assert 2 == len(pool)
    assert len(auth._authoriser._authorisers) < 100  # no public way to it


def test_closing_the_auth_leaves_the_pool(pool: ManagerPool) -> None:
    """As it leaves a manager that it was given."""
    with AuthorizedSession(pool, key="acme") as session:
        session.auth.manager.get_token()
    assert "acme-1" == pool["acme"].get_token(0).access_token


def test_it_pickles_with_its_pool() -> None:
    """And without a token."""
    auth = BearerAuth(ManagerPool(make_none), key=tenant_of)
    again = pickle.loads(pickle.dumps(auth))
    with pytest.raises(LookupError, match="acme"):
        requests.Request("GET", "https://api.example.com/", headers={"X-Tenant": "acme"}, auth=again).prepare()


@pytest.mark.parametrize("kind", [BearerAuth, AuthorizedSession])
def test_a_pool_needs_a_key_and_a_key_a_pool(kind: type, pool: ManagerPool, mint: Issuer) -> None:
    """The error says what to write."""
    with pytest.raises(ConfigurationError, match="write key="):
        kind(pool)
    with pytest.raises(ConfigurationError, match=r"write BearerAuth\(ManagerPool\(make\), key="):
        kind(mint, key="acme")


def test_one_manager_for_all_is_asked_for_where_each_has_its_own(pool: ManagerPool) -> None:
    """The error says where it is to be had."""
    with pytest.raises(ConfigurationError, match=r"pool\[key\]"):
        _ = BearerAuth(pool, key=tenant_of).manager


@pytest.mark.parametrize("end", ["discarded", "stopped"])
def test_a_manager_that_ends_under_a_request(end: str, api: Resource) -> None:
    """Where the pool has closed it, another one is asked, once; one that its owner stopped stays stopped."""
    api.behave = lambda seen: Reply()
    made: list[TokenManager] = []

    def make(key: str) -> TokenManager:
        made.append(TokenManager(CallableTokenFetcher(lambda: Token(f"token-{len(made)}"), name=key)))
        if len(made) < 3:  # a request asks more than once
            made[-1].stop()  # as if just after the pool gave it
            if end == "discarded":
                pool.discard(key)  # it is this caller's alone, then
        return made[-1]

    with ManagerPool(make) as pool:
        auth = BearerAuth(pool, key="acme")
        if end == "discarded":
            assert 200 == requests.get(api.url, auth=auth).status_code
            assert ["token-3"] == sent(api)
        else:
            with pytest.raises(RenewalStoppedError):
                requests.get(api.url, auth=auth)
            assert 1 == len(made)
