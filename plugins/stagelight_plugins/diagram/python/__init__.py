"""The front end for Python: `ast` becomes the neutral tree, and dialects say what is a step."""
