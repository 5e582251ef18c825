"""What is measured: a module each. A scenario has

* ``PLAN``: the variants, by name: what its ``measure`` is called with,
* ``ROUNDS``: how often, for each peer in turn,
* ``measure(peer, realm, **options)``: the figures of one round, taken in the peer's own process,

and, where it needs them, ``TOGETHER`` (all peers at once: what waits more than it works), ``FRESH`` (a new process for
each round), ``ONLY`` (the names of the peers that take part), ``COPIES`` (processes of a peer) and ``PATIENCE``
(seconds, after which a round counts as hanging).
"""
