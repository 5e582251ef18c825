"""RQ: rq worker. Each job runs in a forked child that ends with it, so a storage is what keeps the token."""

from orders import orders


def fetch_orders():
    return orders()
