"""A shop that reads its orders from another service."""
