"""Arrays that cost seconds to make: kept in a file beside the corpus, and in the process."""

import hashlib
import json
import os
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..runs import hold
from ..runs.process import has_ended, started

Arrays = dict[str, np.ndarray]

REMEMBERED = 24  # files that a process keeps in memory: 2 to 15 MB each
_memory: dict[Path, Arrays] = {}


def keep_arrays(
    path: Path, names: Collection[str], make: Callable[[], Arrays], lease: Path | None = None
) -> Arrays:
    """The arrays of the file `path`, made where it is missing, damaged, or has not these `names`.

    They are kept if that is possible: a folder may be closed to writers, a disk full. With a
    `lease` processes that miss the same file wait for one that makes it. The name of a file holds
    a digest of what its arrays depend on (`digest_of`).
    """
    if path not in _memory:
        if len(_memory) >= REMEMBERED:
            del _memory[next(iter(_memory))]
        _memory[path] = read_arrays(path, names) or _make(path, names, make, lease)
    return _memory[path]


def _make(
    path: Path, names: Collection[str], make: Callable[[], Arrays], lease: Path | None
) -> Arrays:
    with ExitStack() as stack:
        if lease:
            with suppress(OSError):  # a folder that may only be read
                stack.enter_context(hold(lease))
            if arrays := read_arrays(path, names):
                return arrays  # made while this process waited
        arrays = make()
        with suppress(OSError):
            _remove_leftovers(path.parent)
            save_arrays(path, arrays, sha256=hash_arrays(arrays))
    return arrays


def read_arrays(path: Path, names: Collection[str]) -> Arrays | None:
    """The arrays of a file; None where it is missing, torn, or not what was written, and where
    another version of the code wrote others."""
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            written = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    if written != hash_arrays(arrays) or arrays.keys() != set(names):
        return None
    return arrays


def _remove_leftovers(folder: Path):
    """Remove what processes that were killed while they wrote have left in a folder.

    A process of another host may look dead here: what it writes is not kept then, and no harm done.
    """
    for path in folder.glob(".*.safetensors.*"):
        pid = path.suffix[1:]
        if pid.isdigit() and has_ended(int(pid), started(int(pid))):
            path.unlink(missing_ok=True)


def save_arrays(path: Path, arrays: Arrays, **metadata: str):
    """Write beside, then rename: a reader never sees half a file.

    The users who may read the folder may read it, which is not so with safetensors' `save_file`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(save(arrays, metadata or None))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def digest_of(*content) -> str:
    """12 hex digits over what the content of a file depends on."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def hash_arrays(arrays: Arrays) -> str:
    """64 hex digits over the names, types, shapes and bytes of arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
