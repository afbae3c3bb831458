"""Skip connections, one a file."""
