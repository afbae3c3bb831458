"""Terms of a loss, one a file."""
