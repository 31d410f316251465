"""Delivery: the outbox, each receiver's lane, and the guarded way out."""
