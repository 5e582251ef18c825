"""Celery: celery -A celery_app worker. A soft time limit may interrupt it anywhere."""

import os

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from orders import orders

app = Celery("shop", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])
app.conf.broker_connection_retry_on_startup = True


@app.task(soft_time_limit=5)
def fetch_orders():
    try:
        return orders()
    except SoftTimeLimitExceeded:
        return {"status": "too slow"}
