"""django-oauth-toolkit as one file: an authorization server and two resources, on a free port of 127.0.0.1.

Run with the path of a JSON file with ``clients`` (``client_id``, ``client_secret``, ``grant``, ``lifetime``), ``users``
(passwords by name) and ``database`` (a path). It writes its URL as one line to standard output when it is ready,
and ends when its standard input does.
"""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

CONFIG = json.loads(Path(sys.argv[1]).read_text())
APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider"]
IS_ORDERED = django.VERSION >= (
    5,
    1,
)  # then transactions can wait for each other; else two that read may not both write
SQLITE = {"timeout": 20, "transaction_mode": "IMMEDIATE"} if IS_ORDERED else {"timeout": 20}


def lifetime(request: object) -> int:
    return next(client["lifetime"] for client in CONFIG["clients"] if client["client_id"] == request.client.client_id)


settings.configure(
    SECRET_KEY="for the tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": CONFIG["database"], "OPTIONS": SQLITE}},
    INSTALLED_APPS=APPS,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # as every project has it: tells the answer's length
    MIGRATION_MODULES={app.rpartition(".")[2]: None for app in APPS},  # the tables at once: a second instead of five
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    OAUTH2_PROVIDER={
        "EXTRA_SERVER_KWARGS": {"token_expires_in": lifetime},
        "REFRESH_TOKEN_EXPIRE_SECONDS": 3600,
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "SCOPES": {"read": "reading", "write": "writing"},
        "DEFAULT_SCOPES": ["read"],
    },
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402  # needs the settings
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from oauth2_provider.decorators import protected_resource  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402
from oauth2_provider.urls import metadata_urlpatterns  # noqa: E402


def resource(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"subject": getattr(request.resource_owner, "username", None)})


# What the decorator does by itself: a bare 403 for whatever token is no good.
plain = protected_resource(scopes=["read"])(resource)
# 401 with WWW-Authenticate, or 403 with insufficient_scope.
polite = protected_resource(scopes=["read"], advertise_metadata=True)(resource)
writing = protected_resource(scopes=["write"], advertise_metadata=True)(resource)

urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("plain", plain),
    path("polite", polite),
    path("writing", writing),
    *metadata_urlpatterns,
]


def fill() -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)
    users = [User.objects.create_user(name, password=password) for name, password in CONFIG["users"].items()]
    for client in CONFIG["clients"]:
        Application.objects.create(
            client_id=client["client_id"],
            client_secret=client["client_secret"],
            hash_client_secret=False,
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=client["grant"],
            user=users[0],
        )


def one_at_a_time(application: Callable[..., object]) -> Callable[..., object]:
    lock = threading.Lock()

    def call(*arguments: object) -> object:
        with lock:
            return application(*arguments)

    return call


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(WSGIRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


if __name__ == "__main__":
    fill()
    application = get_wsgi_application() if IS_ORDERED else one_at_a_time(get_wsgi_application())
    server = make_server("127.0.0.1", 0, application, server_class=Server, handler_class=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
