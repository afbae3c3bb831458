"""How one candidate is trained, scored, saved and exported, by one process, anywhere."""
