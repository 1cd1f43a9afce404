"""Peers that are programs of ours: each is run by the Python of ``build/peers``, never by the tests' environment."""
