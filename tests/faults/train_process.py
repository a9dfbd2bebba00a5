"""Train one cell in a process that may write only so much, or as another user.

    python train_process.py JSON

JSON holds [parameters, folder of the corpus, largest file in bytes or 0, user id or 0].
"""

import json
import os
import resource
import sys
from pathlib import Path

import torch

from paramalloc.config import TrainConfig
from paramalloc.data import Corpus
from paramalloc.training import train


def main():
    values, corpus, limit, user = json.loads(sys.argv[1])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if user:
        os.setuid(user)
    torch.set_num_threads(1)
    train(TrainConfig.from_dict(values), Corpus.open(Path(corpus)))


if __name__ == "__main__":
    main()
