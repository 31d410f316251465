"""Rooms: where the events of one run are broadcast. Pure state, a ring of messages, and viewers."""
