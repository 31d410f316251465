"""The feed: what viewers receive. Server-sent events, after the HTML standard, section 9.2."""
