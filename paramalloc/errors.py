"""Every mistake of a user, and every state of a run that ends a command, with one line that says what to do."""

try:
    import resource
except ImportError:  # Windows
    resource = None


class UserError(ValueError):
    """A user's mistake; the message is one line that says what was wrong and what to do."""


class ConfigError(UserError):
    """An unknown parameter name, a wrong type, or a value out of range."""


class DataError(UserError):
    """A corpus that is missing, empty, unreadable or too small."""


class InfeasibleError(UserError):
    """No shape meets the request; the message names the constraint that binds and the nearest request."""


class OutOfMemoryError(UserError):
    """The device's memory does not hold a run; the message says what would fit."""


class LeaseLostError(UserError):
    """Another process took this run over while this one was silent; nothing more may be written."""


class RunError(UserError):
    """A run that is not there."""


class InterruptedRunError(UserError):
    """The run was kept and ends here, on request."""


class DiskError(UserError):
    """A run could not be written: the disk is full, or the folder may only be read."""


class ExportError(UserError):
    """A run that is not there, not finished, or has no Llama equivalent."""


class CellError(UserError):
    """Why a cell failed; the sweep goes on with the others."""
