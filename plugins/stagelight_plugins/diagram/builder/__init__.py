"""The graph builder: follows a workflow through its code without running it."""
