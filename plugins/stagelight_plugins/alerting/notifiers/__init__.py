"""Notifiers: a notification in the words of each kind of receiver."""
