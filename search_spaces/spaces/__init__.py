"""Ready-made spaces, one a file, each a function named like its file."""
