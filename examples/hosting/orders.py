"""The one manager of a process: made by the import, used by every request it handles.

Its configuration comes from the environment: ORDERS_TOKEN_URL, ORDERS_CLIENT_ID,
ORDERS_CLIENT_SECRET, and ORDERS_STORAGE=file, so that all processes of this user
share one token.
"""

import os

import requests

from tokenkit import BearerAuth, from_env

API_URL = os.environ["API_URL"]

manager = from_env("ORDERS")
auth = BearerAuth(manager)


def orders():
    """Call the API as every handler does: with one auth, and no word about tokens."""
    response = requests.get(API_URL, auth=auth, timeout=10)
    return {
        "status": response.status_code,
        "pid": os.getpid(),
        "resent": len(response.history),
    }
