"""RQ: rq worker. A forked child runs each job and ends: the storage keeps the token."""

from orders import orders


def fetch_orders():
    return orders()
