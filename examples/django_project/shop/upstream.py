"""The one manager of this process: Django's cache shares its token with all others."""

import requests
from django.conf import settings

from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager
from tokenkit.storage import DjangoCacheTokenStorage

_fetcher = ClientCredentialsFetcher(
    token_url=f"{settings.UPSTREAM}/token",
    client_id=settings.CLIENT_ID,
    client_secret=settings.CLIENT_SECRET,
)
manager = TokenManager(_fetcher, DjangoCacheTokenStorage("default", key_prefix="shop"))
auth = BearerAuth(manager)


def get(path):
    """Ask the other service for *path*, as whoever this project is there."""
    return requests.get(f"{settings.UPSTREAM}/api/{path}", auth=auth, timeout=10)
