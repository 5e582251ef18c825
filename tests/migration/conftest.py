"""A LocalIdP behind the paths of Entra ID, for the libraries that know no other."""

import json
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from tokenkit.testing import LocalIdP

sys.path.insert(0, str(Path(__file__).parent))  # for peers.py, under importlib mode
AUTHORITY = "https://login.example.com"


class Entra(HTTPAdapter):
    """Answers for the metadata by itself; anything else goes to the token endpoint of a LocalIdP."""

    def __init__(self, idp: LocalIdP) -> None:
        super().__init__()
        self._idp = idp

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if "openid-configuration" in str(request.url):
            tenant = f"{AUTHORITY}/tenant"
            metadata = {"issuer": f"{tenant}/v2.0", "authorization_endpoint": f"{tenant}/authorize"}
            body = json.dumps({**metadata, "token_endpoint": f"{tenant}/token"}).encode()
            answer = urllib3.HTTPResponse(BytesIO(body), status=200, preload_content=False)
            return self.build_response(request, answer)
        request.url = self._idp.token_url
        return super().send(request, *args, **options)


@pytest.fixture
def idp() -> Iterator[LocalIdP]:
    with LocalIdP(lifetime=7200) as idp:
        yield idp


@pytest.fixture
def entra() -> Iterator[Callable[[LocalIdP], requests.Session]]:
    """Make a session that sends to a LocalIdP whatever is meant for Entra ID."""
    with requests.Session() as session:

        def behind(idp: LocalIdP) -> requests.Session:
            session.mount(AUTHORITY, Entra(idp))
            return session

        yield behind
