"""Prepare datasets in a process of its own, and print the peak memory after each, in MB.

python prepare_alone.py OUTPUTS DATASET...
"""

import resource
import sys
from pathlib import Path

from paramalloc.data import prepare

outputs, *names = sys.argv[1:]
for name in names:
    prepare(name, 300, Path(outputs))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit)
