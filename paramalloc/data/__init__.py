"""From a corpus to a tokenizer, token files and batches."""

from .batches import Batches
from .corpus import EOT, EOT_TEXT, Corpus, find, prepare
from .description import describe, frequent_tokens, longest_tokens, token_counts
from .sources import UNREADABLE, explain_hub_errors, is_text_file, open_file, revision_on_hub

__all__ = [
    "Batches",
    "Corpus",
    "EOT",
    "EOT_TEXT",
    "UNREADABLE",
    "describe",
    "explain_hub_errors",
    "find",
    "frequent_tokens",
    "is_text_file",
    "longest_tokens",
    "open_file",
    "prepare",
    "revision_on_hub",
    "token_counts",
]
