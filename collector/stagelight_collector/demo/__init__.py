"""The demo: a real job on real files, in a process of its own, seen in the page while it runs."""
