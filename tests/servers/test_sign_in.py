"""A person signs in at node-oidc-provider, in a real browser, by redirect and by a device's code."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from support import needs
from support.oauth_servers import HERE, OAuthServer

from tokenkit import TokenManager
from tokenkit.fetchers.oauth2 import BrowserSignIn, DeviceSignIn, SignedInFetcher, SignInPrompt
from tokenkit.storage import FileTokenStorage

pytestmark = [pytest.mark.server, pytest.mark.slow]

Visit = Callable[[str], dict[str, Any]]
SCOPE = "openid offline_access"


@pytest.fixture
def visit(tmp_path: Path) -> Visit:
    """Open a page in Chromium, sign in and agree; return what the last page was."""
    node, chromium = needs.program("node"), needs.program("chromium")
    home = HERE / "oidc_provider"
    needs.directory(home / "node_modules" / "playwright-core", f"npm ci in tests/servers/{home.name}")

    def open_page(url: str) -> dict[str, Any]:
        command = [node, str(home / "browse.mjs"), url, "alice", chromium, str(tmp_path / "profile")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        assert 0 == done.returncode, done.stderr
        return dict(json.loads(done.stdout))

    return open_page


def test_a_person_signs_in_by_browser(oidc_provider: OAuthServer, visit: Visit) -> None:
    """From the login page to the page that says one may close it; the grant lives on by rotation."""
    flow = BrowserSignIn(
        issuer=oidc_provider.issuer,
        client_id="native",
        scope=SCOPE,
        authorization_params={"prompt": "consent"},
    )
    pages: list[dict[str, Any]] = []
    token = flow.sign_in(lambda prompt: pages.append(visit(prompt.url)))
    assert "You may close this page" in pages[0]["text"]
    assert "no-store" == pages[0]["headers"]["cache-control"]
    assert set() == {referrer for _url, referrer in pages[0]["seen"] if "code=" in referrer}
    fetcher = SignedInFetcher(flow)
    again = fetcher.refresh(fetcher.refresh(token))
    assert "alice" == oidc_provider.visit(again.access_token).json()["subject"]


RENEW = """
import json, sys
from tokenkit import TokenManager
from tokenkit.fetchers.oauth2 import DeviceSignIn, SignedInFetcher
from tokenkit.storage import FileTokenStorage
order = json.load(sys.stdin)
with TokenManager(SignedInFetcher(DeviceSignIn(**order["flow"])), FileTokenStorage(order["directory"])) as manager:
    print(manager.force_refresh(20).access_token)
"""


def test_one_sign_in_serves_programs_that_start_anew(oidc_provider: OAuthServer, visit: Visit, tmp_path: Path) -> None:
    """A person is asked once; three processes, one after the other, renew by rotation, and no token is used twice."""
    flow = {"issuer": oidc_provider.issuer, "client_id": "native", "scope": SCOPE}
    directory = tmp_path / "tokens"
    ended = requests.get(f"{oidc_provider.url}/revoked-grants", timeout=10).text
    with ThreadPoolExecutor() as pool:
        asked: list[Any] = []
        with TokenManager(SignedInFetcher(DeviceSignIn(**flow)), FileTokenStorage(directory)) as manager:  # type: ignore[arg-type]  # by name
            first = manager.sign_in(lambda prompt: asked.append(pool.submit(visit, str(prompt.complete_url))), 60)
        assert asked[0].result()["title"]
    tokens = [first.access_token]
    for _ in range(3):
        order = json.dumps({"flow": flow, "directory": str(directory)})
        done = subprocess.run([sys.executable, "-c", RENEW], input=order, capture_output=True, text=True, timeout=50)
        assert (0, "") == (done.returncode, done.stderr)
        tokens.append(done.stdout.strip())
    assert 4 == len(set(tokens))
    assert "alice" == oidc_provider.visit(tokens[-1]).json()["subject"]
    assert ended == requests.get(f"{oidc_provider.url}/revoked-grants", timeout=10).text


def test_a_person_signs_in_at_a_device(oidc_provider: OAuthServer, visit: Visit) -> None:
    """The code is confirmed on the server's page while the program asks."""
    flow = DeviceSignIn(issuer=oidc_provider.issuer, client_id="native", scope=SCOPE)
    with ThreadPoolExecutor() as pool:
        pages: list[Any] = []

        def show(prompt: SignInPrompt) -> None:
            pages.append(pool.submit(visit, str(prompt.complete_url)))

        token = flow.sign_in(show, 60)
        assert pages[0].result()["title"]
    assert token.refresh_token
    assert "alice" == oidc_provider.visit(token.access_token).json()["subject"]
