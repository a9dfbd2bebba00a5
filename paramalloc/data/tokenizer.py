"""The tokenizer: a byte-level BPE, trained on the train split alone.

Byte-level (Radford et al. 2019): every text can be encoded, and decoding gives it back.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ..errors import DataError

EOT = 0
EOT_TEXT = "<|endoftext|>"
BATCH_CHARS = 1_000_000  # text that is in memory as encodings at one time
PIECE_CHARS = 50_000  # text that is handed to one core at one time

_WORD_END = re.compile(r"(?<=\S)\s")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn a byte-level BPE; DataError if the texts are too small for the vocabulary."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.encode_special_tokens = True
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[EOT_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batch_pieces(texts), trainer)
    size = tokenizer.get_vocab_size()
    if size < vocab_size:
        raise DataError(
            f"the train text is too small: only {size} of the {vocab_size} tokens could be learnt "
            f"from it: use a vocab_size of at most {size} or more text"
        )
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """A saved tokenizer. "<|endoftext|>" inside a text is ordinary text to it, so that
    decode(encode(x)) == x for any x."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True  # the file does not keep this
    return tokenizer


def cut_pieces(text: str) -> list[str]:
    """Cut a long document where a space follows a word.

    No token crosses such a place, so the pieces have the tokens of the whole.
    """
    pieces = []
    start = 0
    while len(text) - start > PIECE_CHARS:
        gap = _WORD_END.search(text, start + PIECE_CHARS)
        if gap is None:
            break
        pieces.append(text[start : gap.start()])
        start = gap.start()
    return [*pieces, text[start:]]


def _batch_pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """The pieces of the texts in lists of about BATCH_CHARS characters."""
    for batch in _batch_texts(texts):
        yield list(itertools.chain.from_iterable(map(cut_pieces, batch)))


def _batch_texts(texts: Iterable[str]) -> Iterator[list[str]]:
    batch = []
    chars = 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        if chars >= BATCH_CHARS:
            yield batch
            batch = []
            chars = 0
    yield batch
