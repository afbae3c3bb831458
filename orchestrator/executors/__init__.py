"""Places where legs run; ``orchestrator.executor`` says what each of them does."""
