"""Rules: what is watched, what is usual, and what is said of it."""
