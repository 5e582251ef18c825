"""FastAPI: uvicorn fastapi_app:app --workers 2. A plain ``def`` has a thread."""

from fastapi import FastAPI
from orders import orders

app = FastAPI()


@app.get("/")
def index() -> dict:
    return orders()
