"""Who may write a run: one process at a time, here or on another host with the same file system.

    runs/<run_id>/lease/000002/   holder.json (host, pid, its start), and what is being written

The highest number holds the run, and numbers only grow. Everything of a run is written in its
holder's folder, the desk, and renamed from there to its place. Who takes a lease over renames the
older desk away, so a holder that comes back to life has nowhere to write: the number is a fencing
token that the file system itself checks.
"""

import errno
import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..disk import sync
from ..errors import LeaseLostError
from .process import has_ended, myself

# seconds without a heartbeat after which a holder is dead
SILENCE = float(os.environ.get("PARAMALLOC_LEASE_SILENCE", "60"))

TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)  # another claimant was faster

Holder = dict[str, Any]  # host, pid, started; when it was heard of last
OnWait = Callable[[Holder], object]  # is told the holder while the run is waited for


class Lease:
    """A held run. `write` puts text in its place, `replace` a file or folder made on the desk."""

    def __init__(self, desk: Path) -> None:
        self.desk = desk
        self.stop = threading.Event()
        self.heart = threading.Thread(target=self._beat, daemon=True)
        self.heart.start()

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.desk.parents[1]

    def _beat(self) -> None:
        while not self.stop.wait(SILENCE / 10):
            with suppress(OSError):  # another holder may have renamed the desk
                os.utime(self.desk / "holder.json")

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """Raise LeaseLostError in place of an error of the body that comes after a takeover."""
        try:
            yield
        except Exception:
            self.check()
            raise

    def check(self) -> None:
        """LeaseLostError if another process has taken the run over."""
        if not self.desk.exists():
            raise LeaseLostError(
                f"another process took over run {self.folder.name}, which this one held: "
                "it ends here"
            ) from None

    def replace(self, made: Path, place: Path) -> None:
        """Rename what was made on the desk to its place, once it and its name are on the disk."""
        with self.fenced():
            contents = list(made.rglob("*")) if made.is_dir() else []
            for path in [*contents, made]:  # contents before the folder that names them
                sync(path)
            os.replace(made, place)
            sync(place.parent)

    def discard(self, path: Path) -> None:
        """Remove a file or folder of the run; fails for a former holder, whose desk is gone."""
        away = self.desk / f"gone-{uuid.uuid4().hex}"
        with self.fenced(), suppress(FileNotFoundError):
            os.rename(path, away)
        self.check()
        if away.is_dir():
            shutil.rmtree(away)
        else:
            away.unlink(missing_ok=True)

    def write(self, place: Path, text: str) -> None:
        """Write a file of the run, whole or not at all."""
        made = self.desk / place.name
        with self.fenced():
            made.write_text(text, encoding="utf-8")
        self.replace(made, place)

    def release(self) -> None:
        """Release the lease. The number is remembered, so that the next one is higher."""
        self.stop.set()
        with suppress(OSError):  # what is gone already need not be put away
            (self.desk.parent / f"{self.desk.name}.released").touch()
            away = _hidden(self.desk.parent)
            os.rename(self.desk, away)
            shutil.rmtree(away)


def _hidden(root: Path) -> Path:
    """A new name in `root` that is no lease."""
    return root / f".{uuid.uuid4().hex}"


# ------------------------------------------------------------------ taking it


@contextmanager
def hold(root: Path, waiting: OnWait | None = None) -> Iterator[Lease]:
    """Hold the lease whose folders are in `root`, once nobody alive does."""
    lease = acquire(root, waiting)
    try:
        yield lease
    finally:
        lease.release()


def acquire(root: Path, waiting: OnWait | None = None) -> Lease:
    """Take the lease in `root` once nobody alive has it; `waiting(holder)` is called meanwhile."""
    root.mkdir(parents=True, exist_ok=True)
    watch = Watch(root)
    while True:
        number, holder = watch.look()
        desk = claim(root, number + 1) if holder is None else None
        if desk:
            return Lease(desk)
        if holder is not None and waiting:
            waiting(holder)
        time.sleep(0.2)


def claim(root: Path, number: int) -> Path | None:
    """The desk of this number, unless somebody else has it or a higher one.

    Renaming onto a folder that is not empty fails, so one claimant alone gets a number. Older
    desks are put away.
    """
    # make the desk under another name, then rename it
    made = _hidden(root)
    desk = root / f"{number:06}"
    try:
        made.mkdir()
        (made / "holder.json").write_text(json.dumps(myself()))
        os.rename(made, desk)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        if error.errno not in TAKEN:
            raise
        return None

    # step back for a higher number
    if newest(root) != number:
        shutil.rmtree(desk, ignore_errors=True)
        return None

    # leave former holders nowhere to write
    clean(root, number)
    for path in root.iterdir():
        if path.is_dir() and 0 <= _number(path) < number:
            message = f"the lease {path.name} of a former holder cannot be put away"
            raise PermissionError(errno.EACCES, message, str(root))
    return desk


def newest(root: Path) -> int:
    """The highest number in use, released ones included; 0 for none."""
    return max([0, *map(_number, root.iterdir())])


def clean(root: Path, number: int) -> None:
    """Put away what is older than `number`: first its name, at once, then its content."""
    for path in root.iterdir():
        if _is_hidden(path) or 0 <= _number(path) < number:
            with suppress(OSError):  # another process cleans too
                dead = _hidden(root)
                os.rename(path, dead)
                if dead.is_dir():
                    shutil.rmtree(dead)
                else:
                    dead.unlink()


def _is_hidden(path: Path) -> bool:
    """Whether it has a name that `_hidden` gives."""
    return bool(re.fullmatch(r"\.[0-9a-f]{32}", path.name))


def _number(path: Path) -> int:
    """Of `000002` and of `000002.released`; -1 of what others have put here, as synced drives do.

    >>> [_number(Path(name)) for name in ("000002", "000002.released", "desktop.ini", "2 (copy)")]
    [2, 2, -1, -1]
    """
    name = re.fullmatch(r"([0-9]{6,})(\.released)?", path.name)
    return int(name[1]) if name else -1


# ------------------------------------------------------------------ who holds it


def _is_holder(content: Any) -> bool:
    """Whether a record is whole; one that is damaged names nobody who could be waited for."""
    if not isinstance(content, dict) or not {"host", "pid", "started"} <= content.keys():
        return False
    pid = content["pid"]
    return isinstance(content["host"], str) and type(pid) is int and 0 < pid < 2**31


class Watch:
    """Looks at a lease again and again: who holds it, for as long as that process lives."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: tuple[int, float] | None = None  # the last beat: number and time
        self.since = 0.0  # when it was new, by this process's clock

    def look(self) -> tuple[int, Holder | None]:
        """(the highest number, its holder); None where it was released or its holder is dead."""
        number = newest(self.root) if self.root.is_dir() else 0
        path = self.root / f"{number:06}" / "holder.json"
        try:
            holder: Holder = json.loads(path.read_text())
            heard = path.stat().st_mtime
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            return number, None
        if not _is_holder(holder):
            return number, None
        holder["heard"] = heard

        # a process of this host is asked for directly
        here = holder["host"] == myself()["host"]
        if here and has_ended(holder["pid"], holder["started"]):
            return number, None

        # the clock of another host may differ: what counts is that a beat is new
        beat = (number, holder["heard"])
        if beat != self.seen:
            self.seen = beat
            self.since = time.monotonic()
        if time.monotonic() - self.since >= SILENCE:
            return number, None
        return number, holder
