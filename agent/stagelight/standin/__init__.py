"""The stand-in: a provider of ours that keeps one of OpenTelemetry's global slots until the program sets its own.

A slot is set once: whoever comes second is refused with a warning, and its spans go nowhere. The agent comes first, so
it must not count. It puts its provider where OpenTelemetry looks and leaves the lock of the slot open; when the program
sets a provider, everything that was handed out before goes on through that one.
"""
