"""A refresh token that the server rotates, kept in a file: restarts go on from it."""

import tempfile
from pathlib import Path

import requests

from tokenkit import AuthenticationError, BearerAuth, TokenManager
from tokenkit.fetchers import RefreshTokenFetcher
from tokenkit.storage import FileTokenStorage
from tokenkit.testing import LocalIdP


def run(idp, refresh_token, directory):
    """Be one run of a program: make one request, then come to an end."""
    fetcher = RefreshTokenFetcher(
        token_url=idp.token_url,
        client_id="client",
        client_secret="secret",
        refresh_token=refresh_token,
    )
    with TokenManager(fetcher, FileTokenStorage(directory)) as manager:
        response = requests.get(idp.api("orders"), auth=BearerAuth(manager), timeout=10)
        manager.force_refresh()  # spends the refresh token of the last answer
        return response.status_code


def main():
    with LocalIdP() as idp, tempfile.TemporaryDirectory() as directory:
        signed_in = sign_in(idp)
        for number in (1, 2, 3):
            print(f"run {number}: {run(idp, signed_in, Path(directory))}")
        spent = idp.count("token:refresh_token")
        print(f"refresh tokens spent: {spent}; reuse seen: {idp.reuse_detected}")
        idp.revoke_all()
        try:
            run(idp, signed_in, Path(directory))
        except AuthenticationError as error:
            print(f"once it is revoked: {error}")


def sign_in(idp):
    """Stand in for a browser: return the refresh token of a person's sign-in."""
    form = {"grant_type": "password", "username": "alice", "password": "wonderland"}
    return requests.post(
        idp.token_url, form, auth=("client", "secret"), timeout=10
    ).json()["refresh_token"]


if __name__ == "__main__":
    main()
