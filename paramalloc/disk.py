"""Files on the disk: whether one is still what was written, and how it gets there."""

import hashlib
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
