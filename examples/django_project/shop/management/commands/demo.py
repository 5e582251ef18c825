"""``manage.py demo``: four workers at once, and what they cost."""

import os
import subprocess
import sys
import tempfile

from django.core.management import BaseCommand

from tokenkit.testing import LocalIdP

WORKERS = 4


class Command(BaseCommand):
    help = "Run workers against a local identity provider, and count its token calls."

    def handle(self, *args, **options):
        with LocalIdP() as idp, tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "SHOP_UPSTREAM": idp.url, "SHOP_CACHE": cache}
            commands = [
                [sys.executable, sys.argv[0], "ask", str(n), str(n + 100)]
                for n in range(WORKERS)
            ]
            workers = [
                subprocess.Popen(command, env=environment) for command in commands
            ]
            failed = sum(worker.wait(timeout=30) != 0 for worker in workers)
            self.stdout.write(f"workers         {WORKERS}, of which failed {failed}")
            self.stdout.write(f"requests        {idp.count('api')}")
            self.stdout.write(f"token calls     {idp.count('token')}")
