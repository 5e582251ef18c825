"""What a pickle names and another process imports: a module of its own, which both have on their path."""

from tokenkit import RefreshPolicy, Token, TokenListener, TokenManager
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
    return TokenManager(
        CallableTokenFetcher(fetch, name="mine"),
        InMemoryTokenStorage(),
        policy=RefreshPolicy(jitter=0.05),
        listeners=[Listener()],
        background=False,
    )


def use(manager: TokenManager) -> str:
    """Get a token from *manager*, in whichever process this is."""
    return manager.get_token(10).access_token
