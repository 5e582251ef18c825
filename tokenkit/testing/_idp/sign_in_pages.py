"""The endpoints that begin a person's sign-in, and the pages that the person sees."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import final
from urllib.parse import urlencode, urlsplit, urlunsplit

from tokenkit.testing._idp.authority import Authority, Client
from tokenkit.testing._idp.messages import Refusal, Reply, Request
from tokenkit.testing._idp.sign_ins import AuthorizationRequest
from tokenkit.testing.settings import Settings

__all__ = ["SignInPages"]

_PAGE = "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}</html>"
_FORM = (
    "<form method=post>{hidden}{code}<p><label>User <input name=username></label><p><label>Password "
    "<input name=password type=password></label><p><button name=answer value=yes>Sign in</button> "
    "<button name=answer value=no>Cancel</button></form>"
)
_CODE = "<p><label>Code <input name=user_code value='{value}'></label>"


@final
class SignInPages:
    """Answers ``/authorize``, ``/par``, ``/device_authorization`` and ``/activate``. Safe from any thread."""

    def __init__(self, authority: Authority, settings: Settings, issuer: str) -> None:
        self._authority = authority
        self._sign_ins = authority.sign_ins
        self._settings = settings
        self._issuer = issuer

    def metadata(self) -> dict[str, object]:
        """Return what the metadata say of these endpoints."""
        pushed = {"pushed_authorization_request_endpoint": f"{self._issuer}/par"}
        return {
            "authorization_endpoint": f"{self._issuer}/authorize",
            "device_authorization_endpoint": f"{self._issuer}/device_authorization",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **(pushed if self._settings.takes_pushed_requests else {}),
        }

    def push(self, client: Client, form: Mapping[str, str]) -> Reply:
        """RFC 9126 section 2."""
        request = AuthorizationRequest.of({**form, "client_id": client.client_id})
        uri, lifetime = self._sign_ins.push(request)
        return Reply.json({"request_uri": uri, "expires_in": int(lifetime)}, 201)

    def begin_device(self, client: Client, form: Mapping[str, str]) -> Reply:
        """RFC 8628 section 3.2."""
        lifetime, interval = self._settings.device_lifetime, self._settings.device_interval
        device_code, device = self._sign_ins.begin_device(client.client_id, form.get("scope"), lifetime, interval)
        page = f"{self._issuer}/activate"
        return Reply.json(
            {
                "device_code": device_code,
                "user_code": device.user_code,
                "verification_uri": page,
                "verification_uri_complete": f"{page}?{urlencode({'user_code': device.user_code})}",
                "expires_in": lifetime,
                "interval": interval,
            }
        )

    def authorize(self, request: Request) -> Reply:
        """RFC 6749 section 4.1.1 and 4.1.2: ask the person, then send the browser back with a code."""
        fields = {name: str(value) for name, value in request.fields.items()}
        try:
            asked = self._asked(fields)
        except Refusal as refusal:  # whoever made it may be anybody: it is told here, and leads nowhere
            return _page("This request cannot be answered", escape(refusal.description), refusal.status)
        if request.method != "POST":
            return _page("Sign in", _form(fields))
        back = {"state": asked.state, "iss": self._issuer}
        if fields.get("answer") == "no":
            return _redirect(asked.redirect_uri, {"error": "access_denied", **back})
        username = fields.get("username", "")
        if not self._authority.has_user(username, fields.get("password", "")):
            return _page("Sign in", f"<p>User or password is wrong.</p>{_form(fields)}", 403)
        return _redirect(asked.redirect_uri, {"code": self._sign_ins.issue_code(asked, username), **back})

    def activate(self, request: Request) -> Reply:
        """RFC 8628 section 3.3: where a person types the device's code."""
        fields = {name: str(value) for name, value in request.fields.items()}
        user_code = fields.get("user_code", "")
        form = _form({}, _CODE.format(value=escape(user_code, quote=True)))
        if request.method != "POST":
            return _page("Connect a device", form)
        username = fields.get("username", "")
        denied = fields.get("answer") == "no"
        if not denied and not self._authority.has_user(username, fields.get("password", "")):
            return _page("Connect a device", f"<p>User or password is wrong.</p>{form}", 403)
        if not self._sign_ins.answer_device(user_code, None if denied else username):
            return _page("Connect a device", f"<p>There is no such code.</p>{form}", 404)
        return _page("Cancelled" if denied else "Connected", "You may close this page.")

    def _asked(self, fields: Mapping[str, str]) -> AuthorizationRequest:
        client = self._authority.client(fields.get("client_id", ""))
        if client is None:
            raise Refusal("invalid_client", "the client is unknown", status=400)
        if "request_uri" in fields:
            return self._sign_ins.pushed(fields["request_uri"], client.client_id)
        return AuthorizationRequest.of(fields)


def _form(hidden: Mapping[str, str], code: str = "") -> str:
    kept = {name: value for name, value in hidden.items() if name not in ("username", "password", "answer")}
    inputs = (
        f"<input type=hidden name='{escape(n, quote=True)}' value='{escape(v, quote=True)}'>" for n, v in kept.items()
    )
    return _FORM.format(hidden="".join(inputs), code=code)


def _page(title: str, body: str, status: int = 200) -> Reply:
    text = _PAGE.format(title=title, body=body).encode()
    return Reply(status, text, (("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")))


def _redirect(uri: str, fields: Mapping[str, str]) -> Reply:
    parts = urlsplit(uri)
    query = "&".join(filter(None, [parts.query, urlencode({k: v for k, v in fields.items() if v})]))
    return Reply(302, headers=(("Location", urlunsplit(parts._replace(query=query))), ("Cache-Control", "no-store")))
