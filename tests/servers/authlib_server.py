"""Authlib's Flask authorization server and a resource, on a free port of 127.0.0.1.

Run with the path of a JSON file with ``clients`` (``client_id``, ``client_secret`` or ``jwk``, ``methods``, ``grants``,
``lifetime``) and ``users`` (passwords by name). It writes its URL as one line to standard output when it is ready, and
ends when its standard input does.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # http, on loopback

from authlib.common.security import generate_token
from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector, current_token
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6749.errors import InvalidGrantError
from authlib.oauth2.rfc6750 import BearerTokenGenerator, BearerTokenValidator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from flask import Flask, Response, jsonify, request
from werkzeug.serving import WSGIRequestHandler, make_server

CONFIG = json.loads(Path(sys.argv[1]).read_text())
METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]


class Client(ClientMixin):
    def __init__(self, settings: dict[str, Any]) -> None:
        self.client_id = settings["client_id"]
        self.jwk = settings.get("jwk")
        self.lifetime = settings["lifetime"]
        self._secret = settings.get("client_secret")
        self._methods = settings["methods"]
        self._grants = settings["grants"]

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str) -> str:
        return scope or ""

    def check_client_secret(self, client_secret: str) -> bool:
        return self._secret == client_secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in self._methods

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self._grants


class Issued(TokenMixin):
    def __init__(self, client: Client, user: str | None, answer: dict[str, Any]) -> None:
        self.client = client
        self.user = user
        self.answer = answer
        self.expires_at = time.time() + answer["expires_in"]
        self.revoked = False
        self.spent = False

    def check_client(self, client: Client) -> bool:
        return client.client_id == self.client.client_id

    def get_scope(self) -> str:
        return self.answer.get("scope", "")

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at

    def is_revoked(self) -> bool:
        return self.revoked


class Store:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: list[Issued] = []
        self._seen: set[str] = set()
        self.clients = {settings["client_id"]: Client(settings) for settings in CONFIG["clients"]}

    def save(self, answer: dict[str, Any], asked: Any) -> None:
        with self._lock:
            self._tokens.append(Issued(asked.client, asked.user, dict(answer)))

    def find(self, value: str, *kinds: str) -> Issued | None:
        with self._lock:
            return next((one for one in self._tokens for kind in kinds if one.answer.get(kind) == value), None)

    def first_use(self, identifier: str) -> bool:
        with self._lock:
            fresh = identifier not in self._seen
            self._seen.add(identifier)
            return fresh


app = Flask(__name__)
store = Store()
server = AuthorizationServer(app, query_client=store.clients.get, save_token=store.save)
server.register_token_generator(
    "default",
    BearerTokenGenerator(
        lambda **_: generate_token(42), lambda **_: generate_token(48), lambda client, _grant: client.lifetime
    ),
)
protected = ResourceProtector()


class Password(grants.ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def authenticate_user(self, username: str, password: str) -> str | None:
        return username if CONFIG["users"].get(username) == password else None


class Refresh(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Issued | None:
        found = store.find(refresh_token, "refresh_token")
        return None if found is None or found.spent or found.revoked else found

    def authenticate_user(self, refresh_token: Issued) -> str | None:
        return refresh_token.user

    def revoke_old_credential(self, refresh_token: Issued) -> None:
        refresh_token.spent = refresh_token.revoked = True


class Credentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


class Assertion(JWTBearerGrant):
    @property
    def CLAIMS_OPTIONS(self) -> dict[str, Any]:  # Authlib before 1.7 does not ask get_audiences()
        return {**JWTBearerGrant.CLAIMS_OPTIONS, "aud": {"essential": True, "values": self.get_audiences()}}

    def resolve_public_key(self, headers: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
        """Authlib before 1.7 asks here."""
        client = self.resolve_issuer_client(payload["iss"])
        if client is None:
            raise InvalidGrantError("unknown issuer")
        return self.resolve_client_public_key(client)

    def resolve_issuer_client(self, issuer: str) -> Client | None:
        return store.clients.get(issuer)

    def resolve_client_public_key(self, client: Client) -> dict[str, Any]:
        return client.jwk

    def authenticate_user(self, subject: str) -> str | None:
        return subject if subject in CONFIG["users"] else None

    def has_granted_permission(self, client: Client, user: str) -> bool:
        return True

    def get_audiences(self) -> list[str]:
        return [f"{request.host_url}token"]


class ClientAssertion(JWTBearerClientAssertion):
    CLIENT_AUTH_METHOD = "private_key_jwt"
    token_url = property(lambda self: self.get_audiences()[0], lambda self, value: None)  # Authlib before 1.7 asks here

    def __init__(self) -> None:
        super().__init__(None)

    def get_audiences(self) -> list[str]:
        return [f"{request.host_url}token"]

    def validate_jti(self, claims: dict[str, Any], jti: str) -> bool:
        return store.first_use(jti)

    def resolve_client_public_key(self, client: Client, headers: object = None) -> dict[str, Any]:
        return client.jwk


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token: str, token_type_hint: str | None) -> Issued | None:
        return store.find(token, "access_token", "refresh_token")

    def revoke_token(self, token: Issued, request: object) -> None:
        token.revoked = True


class Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, token: str, token_type_hint: str | None) -> Issued | None:
        return store.find(token, "access_token")

    def check_permission(self, token: Issued, client: Client, request: object) -> bool:
        return token.check_client(client)

    def introspect_token(self, token: Issued) -> dict[str, Any]:
        return {"active": True, "client_id": token.client.client_id, "exp": int(token.expires_at), "sub": token.user}


class Validator(BearerTokenValidator):
    def authenticate_token(self, token_string: str) -> Issued | None:
        return store.find(token_string, "access_token")


for grant in (Password, Refresh, Credentials, Assertion):
    server.register_grant(grant)
server.register_client_auth_method("private_key_jwt", ClientAssertion())
server.register_endpoint(Revocation)
server.register_endpoint(Introspection)
protected.register_token_validator(Validator())


@app.post("/token")
def token() -> Response:
    return server.create_token_response()


@app.post("/revoke")
def revoke() -> Response:
    return server.create_endpoint_response("revocation")


@app.post("/introspect")
def introspect() -> Response:
    return server.create_endpoint_response("introspection")


@app.get("/resource")
@protected()
def resource() -> Response:
    return jsonify(client=current_token.client.client_id, subject=current_token.user)


class Handler(WSGIRequestHandler):
    def log(self, *_arguments: object) -> None:
        pass


if __name__ == "__main__":
    listener = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{listener.server_port}", flush=True)
    sys.stdin.read()
