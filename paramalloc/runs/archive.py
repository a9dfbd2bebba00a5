"""The small files of finished runs in one zip archive, so that they outlive their machine.

A machine may return a few files alone; an archive holds runs/<run_id>/ of many runs, without their
weights. Its bytes depend on what it holds and on nothing else.
"""

import io
import re
import stat
import zipfile
import zlib
from pathlib import Path

from ..errors import RunError
from .folder import write_bytes

# In the order in which they are put back: a run with a config.json is whole but for its result.
FILES = ("metrics.jsonl", "evaluation.json", "items.safetensors", "config.json", "result.json")
MEMBER = re.compile(rf"runs/([0-9a-f]{{12}})/({'|'.join(map(re.escape, FILES))})")
LARGEST_ITEMS = 2**20  # bytes of items.safetensors; a larger one is left out
LARGEST_ARCHIVE = 2**29  # bytes that are read of one archive, unpacked

Files = dict[str, bytes]  # name -> content


def small_files(folder: Path) -> Files:
    """The files of a run that go into an archive, as far as they are there."""
    files = {}
    for name in FILES:
        path = folder / name
        is_large = name == "items.safetensors" and path.exists()
        if path.is_file() and not (is_large and path.stat().st_size > LARGEST_ITEMS):
            files[name] = path.read_bytes()
    return files


def write_archive(path: Path, folders: list[Path]) -> None:
    """Write the small files of these runs to `path`, beside it first, then renamed."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in folders:
            for name, content in small_files(folder).items():
                member = zipfile.ZipInfo(f"runs/{folder.name}/{name}")
                archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    write_bytes(path, made.getvalue())


def read_archive(path: Path) -> dict[str, Files]:
    """The files of each run in an archive, by the run's id.

    RunError if it is no such archive: damaged, or with a member that is no file of a run.
    """
    runs: dict[str, Files] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for (run_id, name), member in _members(archive, path).items():
                runs.setdefault(run_id, {})[name] = archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise RunError(f"{path} is damaged, or no archive of runs: {error}") from None
    return runs


def _members(archive: zipfile.ZipFile, path: Path) -> dict[tuple[str, str], zipfile.ZipInfo]:
    """(run's id, file's name) -> member; RunError where one is something else, or all are large."""
    members = {}
    for member in archive.infolist():
        match = MEMBER.fullmatch(member.filename)
        if match is None or stat.S_ISLNK(member.external_attr >> 16):
            raise RunError(f"{path} holds '{member.filename}', which is no file of a run")
        if match.groups() in members:
            raise RunError(f"{path} holds {member.filename} twice")
        members[match[1], match[2]] = member
    if sum(member.file_size for member in members.values()) > LARGEST_ARCHIVE:
        raise RunError(f"{path} holds more than {LARGEST_ARCHIVE:,} bytes, unpacked")
    return members
