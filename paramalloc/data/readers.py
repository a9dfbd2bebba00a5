"""Files to documents: .txt, .jsonl (both also compressed) and .parquet, read as streams."""

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from .files import format_of, read_lines
from .records import read_jsonl, read_parquet

_TITLE = re.compile(r" = [^=].* = \r?\n")


def read_documents(path: Path, wikitext: bool) -> Iterator[str]:
    """The documents of a file; a `wikitext` one (`is_wikitext`) is cut into articles.

    DataError names the file, and the line or byte that is wrong.
    """
    kind = format_of(path)
    if kind == "jsonl":
        return read_jsonl(path)
    if kind == "parquet":
        return read_parquet(path)
    if wikitext:
        return cut_articles(read_lines(path))
    return cut_paragraphs(read_lines(path))


def is_wikitext(path: Path) -> bool:
    """Whether a .txt file is WikiText: its first line with text is a ` = Title = `."""
    if format_of(path) != "txt":
        return False
    first = next(filter(str.strip, read_lines(path)), "")
    return bool(_TITLE.fullmatch(first))


def cut_paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """The blocks of text between blank lines."""
    for is_blank, block in itertools.groupby(lines, key=lambda line: not line.strip()):
        if not is_blank:
            yield "".join(block).rstrip("\r\n")


def cut_articles(lines: Iterable[str]) -> Iterator[str]:
    """WikiText, cut before each ` = Title = ` between blank lines (prose may hold such a line)."""
    block = []
    for line in lines:
        if not line.strip() and _ends_in_title(block):
            yield "".join(block[:-1])
            block = block[-1:]
        block.append(line)
    yield "".join(block)


def _ends_in_title(block: list[str]) -> bool:
    """Whether the last line is a title after a blank line, with an article before it."""
    after_blank = len(block) > 1 and not block[-2].strip()
    return after_blank and bool(_TITLE.fullmatch(block[-1])) and any(map(str.strip, block[:-1]))
