"""`python -m paramalloc.cli` is `python -m paramalloc`."""

import sys

from .commands import main

if __name__ == "__main__":
    sys.exit(main())
