"""What the agent does to code it did not write. Each module can be switched on and off again."""
