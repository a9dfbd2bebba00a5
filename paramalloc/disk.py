"""Files on the disk: whether one is still what was written, and how it gets there."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

State = tuple[int, int, int]  # inode, bytes, time of the last change in nanoseconds
_hashed: dict[Path, tuple[State, str]] = {}


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hex. A process reads it once, and again when it has changed."""
    status = path.stat()
    state = (status.st_ino, status.st_size, status.st_mtime_ns)
    known, digest = _hashed.get(path, (None, ""))
    if known != state:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        _hashed[path] = (state, digest)
    return digest


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until a folder with all that is in it, and its own name, have reached the disk."""
    for path in [*folder.rglob("*"), folder, folder.parent]:
        sync(path)


def fitting_name(name: str, characters: int, size: int) -> str:
    """A name cut to so many characters, and to `size` bytes: file systems take 255.

    >>> fitting_name("voyage", 80, 200), len(fitting_name("語" * 80, 80, 200))
    ('voyage', 66)
    """
    return name[:characters].encode()[:size].decode(errors="ignore")


def split_names(text: str, exists: Callable[[str], bool]) -> list[str]:
    """The names that `+` joins; a + within an existing path joins nothing.

    >>> split_names("builtin+c+++d", lambda name: name == "c++")
    ['builtin', 'c++', 'd']
    """
    pieces = text.split("+")
    names = []
    while pieces:
        starts = ["+".join(pieces[:end]) for end in range(len(pieces), 0, -1)]
        name = next((start for start in starts if start and exists(start)), pieces[0])
        names.append(name)
        del pieces[: name.count("+") + 1]
    return names
