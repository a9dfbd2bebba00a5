"""Preparing a corpus beside calling `tokenizers` directly on the same text: seconds and peak memory.

    python tests/bench/bench_data.py FOLDER [vocab_size]

The direct call has all the text in memory, documents of train in one list: the least work, and the most memory.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from paramalloc.data import EOT_TEXT, prepare
from paramalloc.data.sources import resolve


def ours(dataset, vocab_size):
    with tempfile.TemporaryDirectory() as outputs:
        prepare(dataset, vocab_size, Path(outputs))


def bare(dataset, vocab_size):
    texts = []
    for part in resolve(dataset, None):
        for source in part.open().sources:
            texts += source.documents()
    start = time.perf_counter()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[EOT_TEXT],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    encode = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
    for i in range(0, len(texts), 1000):
        encode(texts[i : i + 1000])
    return time.perf_counter() - start  # reading the files is not counted


def measure(way, dataset, vocab_size, answer):
    start = time.perf_counter()
    seconds = way(dataset, vocab_size) or time.perf_counter() - start
    unit = 2**20 if sys.platform == "darwin" else 2**10
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer.put((seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / unit))


def main(dataset, vocab_size=16_000):
    spawn = multiprocessing.get_context(
        "spawn"
    )  # each way in a fresh process, for its own peak memory
    print(
        f"{dataset}, vocabulary {int(vocab_size)}\n{'':12}{'seconds':>10}{'CPU s':>10}{'peak MB':>10}"
    )
    for way in (bare, ours):
        answer = spawn.Queue()
        process = spawn.Process(target=measure, args=(way, dataset, int(vocab_size), answer))
        process.start()
        print("{:12}{:10.1f}{:10.1f}{:10.0f}".format(way.__name__, *answer.get()), flush=True)
        process.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
