"""The error tree of ``orchestrator``."""


class OrchestratorError(Exception):
    """Base of what goes wrong outside a trial; the message says what to do."""


class JournalError(OrchestratorError):
    """The journal cannot be used: a newer schema, a damaged file, a database out of reach."""


class UnknownSearchError(JournalError, ValueError):
    """No search of this name stands in the journal."""


class SubjectError(OrchestratorError, ValueError):
    """What a user points at is no network."""


class UnknownTrialError(JournalError, ValueError):
    """A search has no trial of this number."""


class SearchExistsError(JournalError, ValueError):
    """The name of a new search is taken."""


class NewerJournalError(JournalError, ValueError):
    """The database was written by a newer version of segsearch."""


class LedError(JournalError, ValueError):
    """Another driver leads the search."""


class StaleLeaderError(JournalError):
    """This driver led the search and was replaced; nothing of it was written."""


class ReplayError(OrchestratorError):
    """The events of a journal do not fit together."""


class ExecutorError(OrchestratorError):
    """The place where legs run could not be started, or is gone."""


class ExtensionError(OrchestratorError, ValueError):
    """A search cannot be extended so."""


class WarmStartError(OrchestratorError, ValueError):
    """A search cannot begin with what another one found; nothing was written."""


class PlaceError(OrchestratorError, ValueError):
    """A cluster, or one of its nodes, cannot run this job; nothing was started."""
