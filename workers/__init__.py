"""How one candidate is trained, scored, saved and exported, by one process, anywhere."""

__version__ = "0.1.0"
