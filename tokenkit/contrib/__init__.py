"""Listeners that pass on what happens to a manager's token: to a log, to Prometheus, to OpenTelemetry.

Each is in a module of its own, which loads the package that it needs; importing :mod:`tokenkit` loads none of them.
"""
