"""What a trial may choose, and how a choice becomes a module."""
