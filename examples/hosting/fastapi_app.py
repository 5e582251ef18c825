"""FastAPI: uvicorn fastapi_app:app --workers 2. A plain ``def`` runs in the thread pool, where requests may block."""

from fastapi import FastAPI
from orders import orders

app = FastAPI()


@app.get("/")
def index() -> dict:
    return orders()
