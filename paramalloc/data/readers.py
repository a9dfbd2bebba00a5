"""Files to documents: .txt, .jsonl (both also compressed) and .parquet, read as streams."""

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .files import format_of, read_lines
from .records import read_jsonl, read_parquet

MARKERS = ("<|endoftext|>", "</s>")  # what others put between documents

_TITLE = re.compile(r" = [^=].* = \r?\n")


class Separator(NamedTuple):
    """What parts the documents of a .txt file: a marker, where the pattern finds it in a line."""

    marker: str
    pattern: str


def read_documents(
    path: Path, wikitext: bool = False, separator: Separator | None = None
) -> Iterator[str]:
    """The documents of a file.

    A `wikitext` one (`is_wikitext`) is cut into articles, one with a `separator`
    (`find_separator`) at its markers, and other text at blank lines. DataError names the file, and
    the line or byte that is wrong.
    """
    kind = format_of(path)
    if kind == "jsonl":
        return read_jsonl(path)
    if kind == "parquet":
        return read_parquet(path)
    if wikitext:
        return cut_articles(read_lines(path))
    if separator:
        return cut_at(separator, read_lines(path))
    return cut_paragraphs(read_lines(path))


def is_wikitext(path: Path) -> bool:
    """Whether a .txt file is WikiText: its first line with text is a ` = Title = `."""
    if format_of(path) != "txt":
        return False
    first = next(filter(str.strip, read_lines(path)), "")
    return bool(_TITLE.fullmatch(first))


def find_separator(path: Path) -> Separator | None:
    """The marker between the documents of a .txt file; None where blank lines part them.

    It is one if it is a line of its own, or is mostly glued to the text of two documents or ends
    their lines. Else it is text: somebody writes about it.
    """
    if format_of(path) != "txt":
        return None
    alone = dict.fromkeys(MARKERS, 0)
    glued = dict.fromkeys(MARKERS, 0)
    apart = dict.fromkeys(MARKERS, 0)
    for line in read_lines(path):
        for marker in MARKERS:
            if line.strip() == marker:
                alone[marker] += 1
            elif marker in line:
                found = len(_glued(marker).findall(line))
                glued[marker] += found
                apart[marker] += line.count(marker) - found + line.count("<s>")  # as in HTML
    for marker in MARKERS:
        if glued[marker] > max(1, apart[marker], alone[marker]):
            return _separator_in_lines(marker)
        if alone[marker]:
            return _separator_of_lines(marker)
    return None


def _separator_of_lines(marker: str) -> Separator:
    """Lines of their own; a document may end without a new line before its marker."""
    return Separator(marker, rf"(?:^\s*|(?<=[^\s`])){re.escape(marker)}\s*$")


def _separator_in_lines(marker: str) -> Separator:
    """Everywhere but as a word among others."""
    literal = re.escape(marker)
    return Separator(marker, rf"(?<![\s`]){literal}|{literal}(?![ \t`.,;:)])")


def _glued(marker: str) -> re.Pattern:
    """At an end of a line, or between the end of a document and the first word of the next."""
    literal = re.escape(marker)
    return re.compile(rf"{literal}(?=\s*$)|^{literal}(?=\S)|(?<=[^\s`]){literal}(?=[\w“])")


def cut_at(separator: Separator, lines: Iterable[str]) -> Iterator[str]:
    """The texts between markers, without the ends of lines around them."""
    pattern = re.compile(separator.pattern)
    block = []
    for line in lines:
        first, *others = pattern.split(line)
        block.append(first)
        for text in others:
            yield "".join(block).strip("\r\n")
            block = [text]
    yield "".join(block).strip("\r\n")


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
