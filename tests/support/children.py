"""What a spawned child runs: it imports this by name, which it cannot with a test module."""

from multiprocessing.connection import Connection

from tokenkit.contracts import TokenFetcher


def fetch(source: TokenFetcher, answer_to: Connection) -> None:
    """Fetch once and send the access token."""
    answer_to.send(source.fetch().access_token)
