"""Preparing a corpus against `tokenizers` called directly on the same text: seconds and memory.

    python tests/bench/bench_data.py FOLDER [vocab_size]

The direct call has all the text in memory, the documents of train in one list: the least work and
the most memory.
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

MAXRSS_PER_MB = 2**20 if sys.platform == "darwin" else 2**10


def with_paramalloc(dataset: str, vocab_size: int) -> float:
    """Seconds to prepare the corpus."""
    with tempfile.TemporaryDirectory() as outputs:
        start = time.perf_counter()
        prepare(dataset, vocab_size, Path(outputs))
        return time.perf_counter() - start


def with_tokenizers(dataset: str, vocab_size: int) -> float:
    """Seconds to train the tokenizer and encode the text; reading the files is not counted."""
    texts = []
    for part in resolve(dataset, None):
        for source in part.open().sources:
            texts += source.documents()
    start = time.perf_counter()

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[EOT_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    encode = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
    for i in range(0, len(texts), 1000):
        encode(texts[i : i + 1000])
    return time.perf_counter() - start


def measure(contestant, dataset: str, vocab_size: int, answer) -> None:
    """Put (seconds, CPU seconds, peak MB) of this process into the queue `answer`."""
    seconds = contestant(dataset, vocab_size)
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer.put((seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / MAXRSS_PER_MB))


def main(dataset: str, vocab_size: str = "16_000") -> None:
    print(f"{dataset}, vocabulary {int(vocab_size)}")
    print(f"{'':16}{'seconds':>10}{'CPU s':>10}{'peak MB':>10}")
    spawn = multiprocessing.get_context("spawn")  # a fresh process each, for its own peak memory
    for contestant in (with_tokenizers, with_paramalloc):
        answer = spawn.Queue()
        arguments = (contestant, dataset, int(vocab_size), answer)
        process = spawn.Process(target=measure, args=arguments)
        process.start()
        seconds, cpu_seconds, peak = answer.get()
        name = contestant.__name__.removeprefix("with_")
        print(f"{name:16}{seconds:10.1f}{cpu_seconds:10.1f}{peak:10.0f}", flush=True)
        process.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
