"""tokenkit beside its peers: the same work for all, at one server, in one run. ``python -m benchmarks`` runs it."""
