"""The text files of a folder: no hidden ones, linked folders once, nothing lost in silence."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .files import is_bare_file, is_text_file

NAMES_SHOWN = 5  # of what is left out for a reason
HIDDEN = "hidden"
LINKED = "a link to a folder that is read already"
NOT_TEXT = "not named as text"
ARCHIVE_OF_MACOS = "__MACOSX"  # what its zip files hold besides the text


class LeftOut:
    """What is not read and why, in a line."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}  # by reason

    def add(self, reason: str, name: str) -> None:
        self.names.setdefault(reason, []).append(name)

    def __str__(self) -> str:
        return "; ".join(f"{reason}: {list_some(names)}" for reason, names in self.names.items())


def list_some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    ending = f" and {more:,} more" * (more > 0)
    return ", ".join(names[:NAMES_SHOWN]) + ending


def list_files(path: Path) -> tuple[list[Path], str]:
    """The text files of a folder and of those in it, sorted; and what is left out, in a line.

    Files without an extension are read where no other is. DataError for a link that leads nowhere
    and a folder that cannot be read: text would be missing. A single file is all there is to read.
    """
    if not path.is_dir():
        is_read = path.is_file() and (is_text_file(path) or is_bare_file(path))
        return [path] * is_read, ""
    left_out = LeftOut()
    files = sorted(_walk(path, left_out))
    texts = [file for file in files if is_text_file(file) and file.is_file()]
    if not texts:
        texts = [file for file in files if is_bare_file(file) and file.is_file()]
    for file in sorted(set(files) - set(texts)):
        left_out.add(NOT_TEXT, file.relative_to(path).as_posix())
    return texts, str(left_out)


def _walk(root: Path, left_out: LeftOut) -> Iterator[Path]:
    """Every file that is not hidden. A folder that is there twice is read under its own name."""
    waiting = deque([root])
    seen = set()
    while waiting:
        folder = waiting.popleft()
        real = os.path.realpath(folder)
        if real in seen:
            left_out.add(LINKED, f"{folder.relative_to(root).as_posix()}/")
            continue
        seen.add(real)
        for entry, is_folder in _entries(folder):
            name = f"{entry.relative_to(root).as_posix()}{'/' * is_folder}"
            if entry.name.startswith(".") or entry.name == ARCHIVE_OF_MACOS:
                left_out.add(HIDDEN, name)
            elif not is_folder:
                yield entry
            elif entry.is_symlink():
                waiting.append(entry)  # after all that are no links
            else:
                waiting.appendleft(entry)


def _entries(folder: Path) -> list[tuple[Path, bool]]:
    """What is in a folder, and whether it is a folder."""
    try:
        entries = [(entry, entry.is_dir()) for entry in sorted(folder.iterdir())]
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error
    for entry, _ in entries:
        _refuse_broken_link(entry)
    return entries


def _refuse_broken_link(entry: Path) -> None:
    """DataError if text may be missing: of a hidden file, or an image, nothing is."""
    may_be_text = is_text_file(entry) or not entry.suffix
    if entry.name.startswith(".") or not may_be_text or os.path.exists(entry):
        return
    if entry.is_symlink():
        target = os.readlink(entry)
        raise DataError(f"{entry} is a link to {target}, which is not there: mend or remove it")
