"""One view: it asks the other service, and never sees a token."""

from django.http import JsonResponse
from django.urls import path

from shop import upstream


def orders(request, number):
    answer = upstream.get(f"orders/{number}")
    return JsonResponse({"upstream": answer.status_code, "path": answer.json()["path"]})


urlpatterns = [path("orders/<int:number>", orders)]
