"""The front end for JavaScript and TypeScript: tree-sitter's tree becomes the neutral one."""
