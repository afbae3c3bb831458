"""The engine: what a search decides, as pure functions of its events. Begin with ``engine.py``."""
