"""Every mistake of a user, and every state of a run that ends a command.

Each message is one line that says what was wrong and what to do. Commands print that line alone;
under papermill it is the last line.
"""


class UserError(ValueError):
    """A user's mistake. All errors of this project are its children, so one `except` has them."""


class ConfigError(UserError):
    """An unknown parameter name, a wrong type, or a value out of range."""


class DataError(UserError):
    """A corpus that is missing, empty, unreadable or too small."""


class InfeasibleError(UserError):
    """No shape meets the request. The message names the constraint that binds and the nearest
    request that has a shape."""


class OutOfMemoryError(UserError):
    """The device's memory does not hold a run. The message says what would fit."""


class LeaseLostError(UserError):
    """Another process took this run over while this one was silent. Nothing more may be written."""


class RunError(UserError):
    """A run, or a table of runs, that is not there or not as the command needs it."""


class InterruptedRunError(UserError):
    """A run was interrupted and saved. The same command goes on from there."""


class DiskError(UserError):
    """A run could not be written: the disk is full, or the folder is read-only."""


class ExportError(UserError):
    """A run cannot be exported: it is not there, not finished, or has no Llama equivalent."""


class CellError(UserError):
    """A cell of a sweep failed. The message says why; the sweep goes on with the others."""
