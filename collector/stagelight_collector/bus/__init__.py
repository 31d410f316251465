"""The bus: the events of all collectors, in one order, on their way to the rooms of each.

Events travel, not messages to viewers: every collector reads all of them into rooms of its own, so each can show every
run, and a number means the same everywhere.
"""
