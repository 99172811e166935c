"""How long measuring a model takes: images encoded once, or once per mask and protocol."""
