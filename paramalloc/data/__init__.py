"""From a corpus to a tokenizer, token files and batches.

`prepare` makes a corpus once; `Batches` are a pure function of (seed, step). In reading order:

splits         the three splits: their sources, the words that name them, what is held out
files          files of text: which are, their bytes and lines
folders        the text files of a folder, and what is left out of it
records        files of records to texts: .jsonl and .parquet
readers        files to documents: .txt, .jsonl and .parquet, also compressed
hub            datasets of the Hugging Face hub
builtin        the built-in corpus: prose that every machine has
sources        what a dataset's name means
shipped        corpora that came prepared from another machine
tokenizer      training the byte-level BPE
token_files    documents to uint16 files and their counts
intact         whether a prepared corpus is still what was prepared
corpus         a prepared corpus; preparing and finding it
batches        windows of the token stream, by seed and step
description    a corpus in words and as tables
"""

from .batches import Batches
from .corpus import Corpus, Progress, find, prepare
from .description import account, describe, frequent_tokens, longest_tokens, token_counts
from .files import UNREADABLE, hash_file, is_text_file, open_file
from .hub import explain_hub_errors, revision_on_hub
from .shipped import SHIPPED, as_shipped
from .tokenizer import EOT, EOT_TEXT

__all__ = [
    "EOT",
    "EOT_TEXT",
    "SHIPPED",
    "UNREADABLE",
    "Batches",
    "Corpus",
    "Progress",
    "account",
    "as_shipped",
    "describe",
    "explain_hub_errors",
    "find",
    "frequent_tokens",
    "hash_file",
    "is_text_file",
    "longest_tokens",
    "open_file",
    "prepare",
    "revision_on_hub",
    "token_counts",
]
