"""``manage.py ask 1 2 3``: one worker, which answers a request for each order."""

from django.core.management import BaseCommand
from django.test import Client


class Command(BaseCommand):
    help = "Ask for orders, as a worker process would for its users."

    def add_arguments(self, parser):
        parser.add_argument("numbers", nargs="+", type=int)

    def handle(self, *args, numbers, **options):
        client = Client()
        for number in numbers:
            self.stdout.write(
                f"order {number}: {client.get(f'/orders/{number}').json()['upstream']}"
            )
