"""glewlwyd, set up over its REST API as its administrator would: a plugin for each lifetime of tokens."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import requests
from support import needs
from support.daemons import free_port
from support.programs import await_answer, process_group

_SCHEMA = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
_CONFIGURATION = """
port={port}
bind_address="127.0.0.1"
external_url="http://127.0.0.1:{port}/"
login_url="login.html"
api_prefix="api"
log_mode="file"
log_level="WARNING"
log_file="{directory}/glewlwyd.log"
cookie_secure=0
session_expiration=2419200
session_key="GLEWLWYD2_SESSION_ID"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
hash_algorithm="SHA512"
database = {{ type = "sqlite3"; path = "{directory}/db.sqlite3"; }};
"""


@contextmanager
def running(
    directory: Path,
    *,
    lifetimes: Mapping[str, int],
    clients: Mapping[str, tuple[str, list[str]]],
    users: Mapping[str, str],
) -> Iterator[int]:
    """Run glewlwyd and yield its port.

    Args:
        directory: For its files.
        lifetimes: Seconds that an access token lives, by the plugin's name, which is a part of its paths.
        clients: The secret and the grants, by the client's name. ``app`` may act for every user.
        users: Passwords by name.
    """
    program = needs.program("glewlwyd")
    if not _SCHEMA.is_file():
        needs.missing(f"glewlwyd's database schema {_SCHEMA}")
    with closing(sqlite3.connect(directory / "db.sqlite3")) as database:
        database.executescript(_SCHEMA.read_text())
    port = free_port()
    settings = directory / "glewlwyd.conf"
    settings.write_text(_CONFIGURATION.format(port=port, directory=directory))
    with process_group([program, f"--config-file={settings}"], directory) as process:
        api = f"http://127.0.0.1:{port}/api"
        await_answer(process, f"{api}/auth/")
        with requests.Session() as admin:
            _do(admin, "POST", f"{api}/auth/", username="admin", password="password")
            _add_scope(admin, api)
            for name, lifetime in lifetimes.items():
                _add_plugin(admin, api, name, lifetime)
            for name, (secret, grants) in clients.items():
                _add_client(admin, api, name, secret, grants)
            for name, password in users.items():
                _add_user(admin, api, name, password)
        yield port


def _do(session: requests.Session, method: str, url: str, **what: Any) -> None:
    session.request(method, url, json=what, timeout=10).raise_for_status()


def _add_scope(admin: requests.Session, api: str) -> None:
    names = {"name": "api", "display_name": "api", "description": "api"}
    _do(admin, "POST", f"{api}/scope/", password_required=False, scheme={}, **names)


def _add_client(admin: requests.Session, api: str, name: str, secret: str, grants: list[str]) -> None:
    client = {"client_id": name, "name": name, "password": secret, "confidential": True, "enabled": True}
    methods = ["client_secret_basic", "client_secret_post"]
    how = {"authorization_type": grants, "token_endpoint_auth_method": methods, "scope": ["api"]}
    _do(admin, "POST", f"{api}/client/", redirect_uri=["http://127.0.0.1/callback"], **client, **how)


def _add_user(admin: requests.Session, api: str, name: str, password: str) -> None:
    scopes = ["api", "g_profile", "openid"]
    _do(admin, "POST", f"{api}/user/", username=name, name=name, password=password, enabled=True, scope=scopes)
    with requests.Session() as user:
        _do(user, "POST", f"{api}/auth/", username=name, password=password)
        _do(user, "PUT", f"{api}/auth/grant/app", scope="api openid")


def _add_plugin(admin: requests.Session, api: str, name: str, lifetime: int) -> None:
    parameters: dict[str, Any] = {
        "iss": f"{api}/{name}",
        "jwt-type": "sha",
        "jwt-key-size": "256",
        "key": "0123456789abcdef0123456789abcdef",
        "access-token-duration": lifetime,
        "refresh-token-duration": 3600,
        "code-duration": 600,
        "refresh-token-rolling": True,
        "refresh-token-one-use": "always",
        "allow-non-oidc": True,
        "introspection-revocation-allowed": True,
        "introspection-revocation-allow-target-client": True,
        "subject-type": "public",
        "jwks-show": True,
        "pkce-allowed": False,
        "request-parameter-allow": False,
    }
    on = {"code", "id-token", "password", "client", "refresh"}
    kinds = ("code", "token", "id-token", "none", "password", "client", "device", "refresh")
    parameters |= {f"auth-type-{kind}-enabled": kind in on for kind in kinds}
    lists = ("scope", "additional-parameters", "claims", "introspection-revocation-auth-scope")
    parameters |= {key: [] for key in lists}
    _do(admin, "POST", f"{api}/mod/plugin/", module="oidc", name=name, display_name=name, parameters=parameters)
