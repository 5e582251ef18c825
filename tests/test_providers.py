"""Each recipe of the cookbook gets its token from a fake that checks the request and answers as documented."""

import asyncio
import base64
import json
import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses
from support import needs, pages

from tokenkit.errors import RenewalStoppedError
from tokenkit.manager import TokenManager

PAGE = Path(__file__).resolve().parent.parent / "docs" / "howto" / "providers.rst"
TITLE = re.compile(r"^(.+)\n-{4,}$", re.MULTILINE)
LATER = datetime.now(timezone.utc) + timedelta(hours=1)
ISO = LATER.strftime("%Y-%m-%dT%H:%M:%SZ")
SECRET = base64.b64encode(b"app-id:s3cret").decode()

Check = Callable[[Any, dict[str, str]], bool]


def jwt(**claims: Any) -> str:
    parts = [{"alg": "none"}, {"exp": int(LATER.timestamp()), **claims}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts) + ".sig"


def decoded(text: str, part: int = 1) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text.split(".")[part] + "=="))
    return claims


def asserts(form: dict[str, str], **claims: Any) -> bool:
    told = decoded(form.get("client_assertion") or form["assertion"])
    return all(told[name] == value for name, value in claims.items())


ENTRA = "https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token"
GOOGLE = "https://oauth2.googleapis.com/token"
IAM = "https://iamcredentials.googleapis.com"
ACTIONS = "https://pipelines.actions.example/token"
METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
ARC = "http://127.0.0.1:40342/metadata/identity/oauth2/token"
AGENT = "/var/opt/azcmagent/tokens"
OAUTH = {"token_type": "Bearer", "expires_in": 3599, "access_token": "t"}
REGISTRY = {"token": "t", "issued_at": datetime.now(timezone.utc).isoformat()}
ON_METADATA = ("GET", METADATA, OAUTH, lambda request, _form: request.headers["Metadata-Flavor"] == "Google")
ON_ACTIONS = (
    "GET",
    ACTIONS,
    {"value": jwt(), "count": 1},
    lambda request, _form: request.headers["Authorization"] == "Bearer job" and "api-version=2.0" in request.url,
)

# (the section, the exchanges that it makes: method, URL, the documented answer, what the request must be)
RECIPES: dict[str, list[tuple[str, str, Any, Check]]] = {
    "Entra ID, with a secret": [
        ("POST", ENTRA, {**OAUTH, "ext_expires_in": 3599}, lambda _r, form: form["client_secret"] == "s3cret")
    ],
    "Entra ID, with a certificate": [
        (
            "POST",
            ENTRA,
            OAUTH,
            lambda _r, form: asserts(form, aud=ENTRA, sub="app-id") and "x5t" in decoded(form["client_assertion"], 0),
        )
    ],
    "Entra ID, continuous access evaluation": [
        ("POST", ENTRA, {**OAUTH, "expires_in": 86400}, lambda _r, form: "cp1" in form["claims"])
    ],
    "Entra ID, federated": [("POST", ENTRA, OAUTH, lambda _r, form: form["client_assertion"] == "federated")],
    "Auth0": [
        (
            "POST",
            "https://my-tenant.eu.auth0.com/oauth/token",
            {**OAUTH, "expires_in": 86400},
            lambda _r, form: form["audience"] == "https://orders.example.com",
        )
    ],
    "Okta": [
        (
            "POST",
            "https://my-org.okta.com/oauth2/v1/token",
            OAUTH,
            lambda _r, form: (
                form["scope"] == "okta.users.read" and decoded(form["client_assertion"], 0)["kid"] == "key-1"
            ),
        )
    ],
    "Keycloak": [
        ("GET", "https://sso.example.com/.well-known/oauth-authorization-server/realms/shop", 404, lambda _r, _f: True),
        (
            "GET",
            "https://sso.example.com/realms/shop/.well-known/openid-configuration",
            {
                "issuer": "https://sso.example.com/realms/shop",
                "token_endpoint": "https://sso.example.com/realms/shop/protocol/openid-connect/token",
            },
            lambda _r, _f: True,
        ),
        (
            "POST",
            "https://sso.example.com/realms/shop/protocol/openid-connect/token",
            {**OAUTH, "expires_in": 300, "refresh_expires_in": 0, "not-before-policy": 0},
            lambda request, _f: request.headers["Authorization"].startswith("Basic "),
        ),
    ],
    "Google, with a service account's key": [
        ("POST", GOOGLE, OAUTH, lambda _r, form: asserts(form, aud=GOOGLE, iss="robot@project.iam.gserviceaccount.com"))
    ],
    "Google, an identity token for Cloud Run or IAP": [
        (
            "POST",
            GOOGLE,
            {"id_token": jwt()},
            lambda _r, form: asserts(form, target_audience="https://orders-abc.a.run.app"),
        )
    ],
    "Google, the metadata server": [ON_METADATA],
    "Google, impersonation": [
        ON_METADATA,
        (
            "POST",
            f"{IAM}/v1/projects/-/serviceAccounts/robot@project.iam.gserviceaccount.com:generateAccessToken",
            {"accessToken": "t2", "expireTime": ISO},
            lambda request, _f: request.headers["Authorization"] == "Bearer t" and b"3600s" in request.body,
        ),
    ],
    "Google, workload identity federation": [
        (
            "POST",
            "https://sts.googleapis.com/v1/token",
            {**OAUTH, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"},
            lambda request, form: (
                form["subject_token_type"] == "urn:ietf:params:oauth:token-type:jwt"
                and form["audience"].startswith("//iam.googleapis.com/")
                and "client_id" not in form
                and "Authorization" not in request.headers
            ),
        )
    ],
    "GitHub App": [
        (
            "POST",
            "https://api.github.com/app/installations/67890/access_tokens",
            {"token": "ghs_1", "expires_at": ISO, "permissions": {}},
            lambda request, _f: decoded(request.headers["Authorization"].split()[1])["iss"] == "12345",
        )
    ],
    "GitHub Actions": [ON_ACTIONS],
    "GitLab CI": [],
    "A long job on a short assertion": [
        ON_ACTIONS,
        ("POST", ENTRA, OAUTH, lambda _r, form: decoded(form["client_assertion"])["exp"] > 0),
    ],
    "Azure, managed identity of a machine (IMDS)": [
        (
            "GET",
            "http://169.254.169.254/metadata/identity/oauth2/token",
            {**OAUTH, "expires_in": "86399", "expires_on": "1600000000", "refresh_token": "", "not_before": "1"},
            lambda request, form: (
                request.headers["Metadata"] == "true" and form["resource"] == "https://vault.azure.net"
            ),
        )
    ],
    "Azure, managed identity of App Service": [
        (
            "GET",
            "http://127.0.0.1:41741/MSI/token",
            {"access_token": "t", "expires_on": LATER.strftime("%m/%d/%Y %I:%M:%S %p +00:00"), "token_type": "Bearer"},
            lambda request, _f: request.headers["X-IDENTITY-HEADER"] == "header",
        )
    ],
    "Azure, managed identity of a server elsewhere (Arc)": [
        ("GET", ARC, (401, {"WWW-Authenticate": f"Basic realm={AGENT}/a.key"}), lambda _r, form: "resource" in form),
        (
            "GET",
            ARC,
            {**OAUTH, "expires_in": "86399", "expires_on": "1600000000"},
            lambda request, form: request.headers["Authorization"] == "Basic challenge" and "resource" in form,
        ),
    ],
    "Kubernetes, a projected token": [],
    "Kubernetes, a token for another service account": [
        (
            "POST",
            "https://kubernetes.default.svc/api/v1/namespaces/shop/serviceaccounts/orders/token",
            {"kind": "TokenRequest", "status": {"token": "t", "expirationTimestamp": ISO}},
            lambda request, _f: json.loads(request.body)["spec"]["expirationSeconds"] == 3600,
        )
    ],
    "Vault": [
        (
            "POST",
            "https://vault.example.com/v1/auth/kubernetes/login",
            {"auth": {"client_token": "hvs.1", "lease_duration": 3600, "renewable": True}, "lease_duration": 0},
            lambda request, _f: json.loads(request.body)["role"] == "orders",
        )
    ],
    "SPIFFE": [],
    "Salesforce": [
        (
            "POST",
            "https://login.salesforce.com/services/oauth2/token",
            {"access_token": "00D!t", "instance_url": "https://x", "token_type": "Bearer", "scope": "api"},
            lambda _r, form: asserts(form, aud="https://login.salesforce.com", sub="robot@example.com"),
        )
    ],
    "Shopify": [
        (
            "POST",
            "https://my-shop.myshopify.com/admin/oauth/access_token",
            {"access_token": "shpat_1", "scope": "write_products", "expires_in": 86399},
            lambda _r, form: (form["grant_type"], form["client_secret"]) == ("client_credentials", "s3cret"),
        )
    ],
    "Zoom": [
        (
            "POST",
            "https://zoom.us/oauth/token",
            OAUTH,
            lambda request, form: (
                (form["grant_type"], request.headers["Authorization"]) == ("account_credentials", f"Basic {SECRET}")
            ),
        )
    ],
    "Slack": [
        (
            "POST",
            "https://slack.com/api/oauth.v2.access",
            {"ok": True, "access_token": "xoxe.1", "token_type": "bot", "expires_in": 43200, "refresh_token": "xoxe-2"},
            lambda _r, form: form["grant_type"] == "refresh_token",
        )
    ],
    "Container registries": [
        ("GET", "https://auth.registry.example/token", REGISTRY, lambda _r, form: form["service"] == "registry.example")
    ],
    "AWS CodeArtifact": [],
    "An identity assertion for another domain": [
        (
            "POST",
            "https://id.example.com/token",
            {**OAUTH, "access_token": jwt(), "token_type": "N_A", "expires_in": 300},
            lambda _r, form: form["requested_token_type"].endswith("id-jag"),
        ),
        ("POST", "https://id.partner.example/token", OAUTH, lambda _r, form: decoded(form["assertion"])["exp"] > 0),
    ],
    "Wherever the program runs": [],
    "Clients that are not requests": [],
}
PROGRAMS = {
    "spire-agent": json.dumps([{"svids": [{"svid": jwt(), "spiffe_id": "spiffe://x"}]}]),
    "aws": json.dumps({"authorizationToken": "t", "expiration": LATER.timestamp()}),
}
SECRETS = {
    **dict.fromkeys(["AZURE_CLIENT_SECRET", "AUTH0_CLIENT_SECRET", "KEYCLOAK_CLIENT_SECRET"], "s3cret"),
    **dict.fromkeys(["ZOOM_CLIENT_SECRET", "SLACK_CLIENT_SECRET", "SHOP_CLIENT_SECRET"], "s3cret"),
    **dict.fromkeys(["PARTNER_CLIENT_SECRET", "SHOPIFY_CLIENT_SECRET"], "s3cret"),
    "SLACK_REFRESH_TOKEN": "xoxe-1",
    "IDENTITY_HEADER": "header",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job",
    "ORDERS_ID_TOKEN": jwt(),
}


def sections() -> dict[str, str]:
    """The code of each recipe, by its title; that of the page's beginning has none."""
    starts = [
        (PAGE.read_text("utf-8").count("\n", 0, found.start()) + 1, found[1])
        for found in TITLE.finditer(PAGE.read_text("utf-8"))
    ]
    code: dict[str, str] = {}
    for block in pages.blocks(PAGE):
        title = next((name for line, name in reversed(starts) if line < block.line), "")
        code[title] = code.get(title, "") + block.code
    return code


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory and an environment with what the recipes refer to, and programs that print what they do."""
    needs.module("jwt")
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    (tmp_path / "app.pem").write_bytes(pem)
    (tmp_path / "azure-identity-token").write_text("federated")
    (tmp_path / "a.key").write_text("challenge")
    (tmp_path / "projected-token").write_text(jwt())
    for name, output in PROGRAMS.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
        program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def form_of(request: Any) -> dict[str, str]:
    body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
    return dict(parse_qsl(urlsplit(request.url).query)) | dict(parse_qsl(body))


def said(answer: Any, machine: Path) -> dict[str, Any]:
    """What a fake answers: a status, a status with headers, or JSON. The agent's directory is that of the test."""
    if isinstance(answer, tuple):
        status, headers = answer
        return {"status": status, "headers": {name: one.replace(AGENT, str(machine)) for name, one in headers.items()}}
    return {"status": answer} if isinstance(answer, int) else {"json": answer}


def names_of(title: str, machine: Path) -> dict[str, Any]:
    """Run the recipe in the page's own words, and return what it defines."""
    namespace: dict[str, Any] = {"__name__": "recipes"}
    exec((sections()[""] + sections()[title]).replace(AGENT, str(machine)), namespace)
    return namespace


@pytest.mark.parametrize("title", RECIPES)
@responses.activate
def test_a_recipe_gets_its_token(title: str, machine: Path) -> None:
    """It sends what the provider wants, and its answer is read with its lifetime."""
    for method, url, answer, _check in RECIPES[title]:
        responses.add(method, url, **said(answer, machine))
    namespace = names_of(title, machine)
    with TokenManager(namespace["source"]) as manager:
        token = manager.get_token(timeout=30)
    assert token.expires_at is not None
    for call, (_method, _url, _answer, check) in zip(responses.calls, RECIPES[title], strict=True):
        assert check(call.request, form_of(call.request)), call.request.url


def test_each_recipe_is_run() -> None:
    """A recipe that nobody runs would rot."""
    assert set(RECIPES) == set(sections()) - {""}


def test_clients_that_are_not_requests_get_the_token(machine: Path) -> None:
    """Each calls what it was given as its manual says: a Kafka client, gRPC's plugin, and httpx's hook in a loop."""
    names, wanted = names_of("Clients that are not requests", machine), SECRETS["ORDERS_ID_TOKEN"]
    told: list[Any] = []
    request = SimpleNamespace(headers={})
    with names["manager"] as manager:
        assert wanted == manager.access_token()
        text, expiry = names["kafka_token"]("sasl.oauthbearer.config")
        names["grpc_token"](None, lambda metadata, error: told.append((metadata, error)))
        asyncio.run(names["authorise"](request))
    assert (wanted, int(LATER.timestamp())) == (text, expiry)
    assert [((("authorization", f"Bearer {wanted}"),), None)] == told
    assert {"Authorization": f"Bearer {wanted}"} == request.headers


def test_grpc_hears_of_a_failure(machine: Path) -> None:
    """The plugin's thread hands the error on, and does not die of it."""
    names = names_of("Clients that are not requests", machine)
    told: list[Any] = []
    names["manager"].close()
    names["grpc_token"](None, lambda metadata, error: told.append((metadata, type(error))))
    assert [((), RenewalStoppedError)] == told


def test_arc_reads_no_file_but_the_agents(machine: Path) -> None:
    """Whoever listens in the agent's place gets no other file's content."""
    (machine / "elsewhere").mkdir()
    (machine / "elsewhere" / "a.key").write_text("private")
    names = names_of("Azure, managed identity of a server elsewhere (Arc)", machine)
    with responses.RequestsMock() as agent:
        agent.get(ARC, status=401, headers={"WWW-Authenticate": f"Basic realm={machine}/elsewhere/a.key"})
        with pytest.raises(ValueError, match="no key of its own"):
            names["arc_headers"]()
