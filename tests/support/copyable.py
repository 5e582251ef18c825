"""What a pickle names and another process imports: a module of its own, which both have on their path."""

import requests

from tokenkit import (
    AuthorizedSession,
    BearerAuth,
    ClientCredentialsFetcher,
    RefreshPolicy,
    Token,
    TokenFetcher,
    TokenListener,
    TokenManager,
)
from tokenkit.fetchers import CallableTokenFetcher
from tokenkit.storage import InMemoryTokenStorage

CANARY = "canary-0123456789"


def fetch() -> Token:
    """Give the token of whoever asks."""
    return Token(CANARY)


class Listener(TokenListener):
    """Hears nothing."""


def make() -> TokenManager:
    """Return a manager with something in each of its parts."""
    return _manager(CallableTokenFetcher(fetch, name="mine"), background=False)


def secret() -> str:
    """Give the secret of the identity provider's client: what is a function goes to any process."""
    return "secret"


def make_client(token_url: str) -> TokenManager:
    """Return such a manager of tokens of an identity provider."""
    return _manager(ClientCredentialsFetcher(token_url=token_url, client_id="client", client_secret=secret))


def _manager(fetcher: TokenFetcher, *, background: bool = True) -> TokenManager:
    return TokenManager(
        fetcher,
        InMemoryTokenStorage(),
        policy=RefreshPolicy(jitter=0.05),
        listeners=[Listener()],
        background=background,
    )


def plain_session(manager: TokenManager) -> requests.Session:
    """Return a session of requests, with adapters and headers of its own, that has *manager*."""
    session = requests.Session()
    session.auth = BearerAuth(manager)
    session.headers["X-Mine"] = "kept"
    return session


CARRIERS = {
    "manager": lambda manager: manager,
    "auth": BearerAuth,
    "plain session": plain_session,
    "session": AuthorizedSession,
}


def manager_of(carrier: object) -> TokenManager:
    """Return the manager that *carrier* is or has."""
    if isinstance(carrier, requests.Session):
        carrier = carrier.auth
    return carrier.manager if isinstance(carrier, BearerAuth) else carrier


def call(carrier: object, url: str) -> tuple[str | None, int, str]:
    """Get *url* with *carrier*; return the token held before and after, as fingerprints, and the status between."""
    manager = manager_of(carrier)
    before = manager.current
    if isinstance(carrier, requests.Session):
        with carrier:
            response = carrier.get(url, timeout=10)
    else:
        auth = carrier if isinstance(carrier, BearerAuth) else BearerAuth(carrier)
        response = requests.get(url, auth=auth, timeout=10)
    after = manager.current.fingerprint
    manager.close()
    return before and before.fingerprint, response.status_code, after
