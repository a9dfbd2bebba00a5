"""The command line: `paramalloc COMMAND`, thin, one module a command.

Each module adds its arguments to the parser and runs; what a command needs is imported when it
runs, so that `paramalloc allocate` does not wait for torch.

- `commands`: `main`, which knows all commands
- `options`: arguments that several commands share
- `streams`: standard streams that are closed, have no reader or another encoding; signals
- `allocate`: the shape for a budget
- `sweep`: train the cells of a sweep
- `status`: what runs, how far it is, what failed and why
- `time`: measure the speeds of finished runs alone
- `report`: execute the analysis notebook
- `evaluate`: measure a finished run again
- `export`: a run as a Hugging Face folder
- `pack`: one archive with all that a sweep needs on another machine
- `restore`: put the runs of a results.csv back
- `recommend`: the shape for a budget, from finished runs
"""

from .commands import main

__all__ = ["main"]
