"""The `syncsam` program."""
