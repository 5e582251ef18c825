"""Flask: gunicorn flask_app:app, waitress-serve flask_app:app, or mod_wsgi."""

from flask import Flask
from orders import manager, orders

app = Flask(__name__)


@app.get("/")
def index():
    return orders()


@app.get("/healthz")
def healthz():
    return {"ready": not manager.is_renewal_required()}


application = app  # the name that mod_wsgi and uWSGI look for
