"""The `dwcp` command: one module per command."""
