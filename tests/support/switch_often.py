"""A plugin for pytest: threads take turns every microsecond, so that races that are rare elsewhere are seen here.

``PYTHONPATH=tests pytest -p support.switch_often tests/manager``. Processes that a test starts go on as ever.
"""

import sys


def pytest_configure() -> None:
    sys.setswitchinterval(1e-6)
