"""One typed function per command that is not a Trainer's; the command line wraps them."""
