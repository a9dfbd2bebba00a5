"""Token files: the documents of each split as one stream of ids, with what they count."""

import array
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ..errors import DataError
from .files import hash_file
from .splits import SPLITS
from .tokenizer import BATCH_CHARS, EOT, cut_pieces

COUNTS = ("documents", "lines", "words", "bytes", "tokens", "ppl_words")


def write_token_files(
    documents: Iterable[tuple[str, str, bool]], tokenizer: Tokenizer, folder: Path
) -> dict[str, dict]:
    """Append each document (split, text, wikitext) to the file of its split, one EOT after it.

    Returns the counts and the checksum of each split. DataError if one is empty.
    """
    files = {split: TokenFile(folder / f"{split}.bin", tokenizer) for split in SPLITS}
    for split, text, wikitext in documents:
        files[split].add(text, wikitext)
    train_documents = files["train"].counts["documents"]
    for split, file in files.items():
        file.flush()
        if not file.counts["documents"]:
            raise DataError(
                f"no text for the {split} split: name a file with the word {split}, or give more "
                f"documents (in .txt, empty lines part them; about 2 % of the {train_documents} "
                "documents are held out)"
            )
    return {split: file.counts | {"sha256": hash_file(file.path)} for split, file in files.items()}


class TokenFile:
    """The file of one split: uint16 ids. Pieces wait until a batch is full, and are then encoded
    together and appended."""

    def __init__(self, path: Path, tokenizer: Tokenizer):
        self.path = path
        self.counts = dict.fromkeys(COUNTS, 0)
        # The fast one computes no offsets.
        self._encode = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
        self._pieces: list[tuple[str, bool]] = []  # and whether a document ends after it
        self._chars = 0

    def add(self, text: str, wikitext: bool) -> None:
        """Append a document. A line of WikiText counts as a word of the published perplexity."""
        lines = text.count("\n") + (not text.endswith("\n"))
        words = len(text.split())
        self.counts["documents"] += 1
        self.counts["lines"] += lines
        self.counts["words"] += words
        self.counts["bytes"] += len(text.encode())
        self.counts["ppl_words"] += words + lines * wikitext
        *pieces, last = cut_pieces(text)
        for piece in pieces:
            self._append(piece, ends=False)
        self._append(last, ends=True)

    def _append(self, piece: str, ends: bool) -> None:
        self._pieces.append((piece, ends))
        self._chars += len(piece)
        if self._chars >= BATCH_CHARS:
            self.flush()

    def flush(self) -> None:
        """Encode what waits, and write it."""
        encodings = self._encode([piece for piece, _ in self._pieces], add_special_tokens=False)
        ids = array.array("H")
        for encoding, (_, ends) in zip(encodings, self._pieces, strict=True):
            ids.extend(encoding.ids)
            if ends:
                ids.append(EOT)
        with open(self.path, "ab") as file:
            ids.tofile(file)
        self.counts["tokens"] += len(ids)
        self._pieces = []
        self._chars = 0


def count_in_train(folder: Path) -> dict[str, int]:
    """How many documents of dev and of test are in train as well, to the last character."""
    held_out = {split: list(_hash_documents(folder / f"{split}.bin")) for split in SPLITS[1:]}
    looked_for = set(itertools.chain(*held_out.values()))
    in_train = looked_for.intersection(_hash_documents(folder / "train.bin"))
    return {
        split: sum(digest in in_train for digest in digests) for split, digests in held_out.items()
    }


def _hash_documents(path: Path) -> Iterator[int]:
    """A hash of the tokens of every document, good within one process."""
    tokens = np.asarray(np.memmap(path, dtype=np.uint16, mode="r"))
    ends = np.flatnonzero(tokens == EOT) + 1
    for start, end in itertools.pairwise([0, *ends.tolist()]):
        yield hash(tokens[start:end].tobytes())
