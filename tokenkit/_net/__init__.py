"""Time limits and sockets, for token endpoints and APIs alike: what both edges of the network share."""
