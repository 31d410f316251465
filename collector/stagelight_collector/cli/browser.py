"""The user's browser."""

from __future__ import annotations

import threading
import webbrowser


def show(url: str) -> None:
    """Open the page, in a thread that nobody waits for: a browser of the terminal stays until its user leaves it."""
    threading.Thread(target=webbrowser.open, args=(url,), name="browser", daemon=True).start()
