"""Train a cell and print its progress: train_cell.py PARAMETERS (as JSON) CORPUS."""

import json
import sys
from pathlib import Path

from paramalloc.config import TrainConfig
from paramalloc.data import Corpus
from paramalloc.training import train


def say(record: dict):
    print("at", record["tokens"], flush=True)


if __name__ == "__main__":
    config = TrainConfig.from_dict(json.loads(sys.argv[1]))
    train(config, Corpus.open(Path(sys.argv[2])), say)
