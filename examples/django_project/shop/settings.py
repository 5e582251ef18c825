"""Settings of the shop: what a shared token needs of them is CACHES."""

import os
from pathlib import Path

SECRET_KEY = "only for this example"
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["shop"]
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
USE_TZ = True

CACHES = {
    "default": {
        # For several hosts: "django.core.cache.backends.redis.RedisCache", and
        # "redis://host:6379/0".
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        # A directory that nobody else can write to, and so never one in /tmp: Django
        # unpickles what it finds there, and whoever writes there runs code as you.
        "LOCATION": os.environ.get("SHOP_CACHE", str(Path.home() / ".cache" / "shop")),
    }
}

UPSTREAM = os.environ.get("SHOP_UPSTREAM", "http://127.0.0.1:8080")
CLIENT_ID = "client"
CLIENT_SECRET = os.environ.get("SHOP_CLIENT_SECRET", "secret")
