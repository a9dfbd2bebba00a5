"""From a corpus to a tokenizer, token files and batches."""

from .batches import Batches
from .corpus import EOT, EOT_TEXT, Corpus, find, prepare
from .description import describe, frequent_tokens, longest_tokens, token_counts
from .sources import FILE, OPEN, UNREADABLE, reaching, revision_on_hub

__all__ = [
    "Batches",
    "Corpus",
    "EOT",
    "EOT_TEXT",
    "FILE",
    "OPEN",
    "UNREADABLE",
    "describe",
    "find",
    "frequent_tokens",
    "longest_tokens",
    "prepare",
    "reaching",
    "revision_on_hub",
    "token_counts",
]
