"""Zero-cost scores, one paper a file."""
