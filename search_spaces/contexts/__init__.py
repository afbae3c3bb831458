"""Context modules, one a file."""
