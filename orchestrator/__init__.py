"""Which leg runs next and where, what is remembered, and what the user sees."""
