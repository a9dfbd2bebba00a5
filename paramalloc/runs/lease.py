"""Who may write a run: one process at a time, whoever started it, here or on another host with the same file system.

    runs/<run_id>/lease/000002/   holder.json (host, pid, its start), and whatever is being written just now

The highest number holds the run; it only ever grows. Everything of a run is written in its holder's folder and renamed from
there to its place. Who takes a lease over renames the older folder away, so that a holder that comes back to life has
nowhere to write: the number is a fencing token that the file system itself checks.
"""

import errno
import json
import os
import shutil
import socket
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import LeaseLostError

SILENCE = float(
    os.environ.get("PARAMALLOC_LEASE_SILENCE", 60)
)  # seconds without a heartbeat after which a holder is dead


class Lease:
    """A held run. `write` puts a file in its place, `replace` a file or folder that was made in `desk`."""

    def __init__(self, desk: Path):
        self.desk = desk
        self.stop = threading.Event()
        self.heart = threading.Thread(target=self._beat, daemon=True)
        self.heart.start()

    @property
    def folder(self) -> Path:
        """What is held."""
        return self.desk.parents[1]

    def _beat(self):
        while not self.stop.wait(SILENCE / 10):
            with quietly():
                os.utime(self.desk / "holder.json")

    @contextmanager
    def fenced(self):
        """What fails because this holder's folder is gone fails because another one has taken over."""
        try:
            yield
        except Exception:
            self.check()
            raise

    def check(self):
        if not self.desk.exists():
            raise LeaseLostError(
                f"another process took over run {self.folder.name}, which this one held: it ends here"
            ) from None

    def replace(self, made: Path, place: Path):
        """Rename what was made in `desk` to its place, for good: it and its new name have reached the disk."""
        with self.fenced():
            for path in [*made.rglob("*"), made] if made.is_dir() else [made]:
                sync(path)
            os.replace(made, place)
            sync(place.parent)

    def discard(self, path: Path):
        """Remove a file or folder of what is held; a former holder that tries finds nowhere to move it."""
        away = self.desk / f"gone-{uuid.uuid4().hex}"
        with self.fenced(), suppress(FileNotFoundError):
            os.rename(path, away)
        self.check()
        shutil.rmtree(away) if away.is_dir() else away.unlink(missing_ok=True)

    def write(self, place: Path, text: str):
        made = self.desk / place.name
        with self.fenced():
            made.write_text(text, encoding="utf-8")
        self.replace(made, place)

    def release(self):
        self.stop.set()
        with quietly():
            (self.desk.parent / f"{self.desk.name}.released").touch()  # the number is not forgotten
            away = self.desk.with_name(f".{uuid.uuid4().hex}")
            os.rename(self.desk, away)
            shutil.rmtree(away)


@contextmanager
def quietly():
    """What is gone already need not be put away."""
    try:
        yield
    except OSError:
        pass


def sync(path: Path):
    """Wait until a file or the names in a folder have reached the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# ------------------------------------------------------------------ taking it


def acquire(root: Path, waiting=None) -> Lease:
    """Take the lease whose folders are in `root`, as soon as nobody alive holds it. `waiting(holder)` is called meanwhile."""
    root.mkdir(parents=True, exist_ok=True)
    watch = Watch(root)
    while True:
        number, holder = watch.look()
        if holder is None and (desk := claim(root, number + 1)):
            return Lease(desk)
        if holder is not None and waiting:
            waiting(holder)
        time.sleep(0.2)


@contextmanager
def hold(root: Path, waiting=None):
    lease = acquire(root, waiting)
    try:
        yield lease
    finally:
        lease.release()


def claim(root: Path, number: int) -> Path | None:
    """The folder of this number, if nobody else has it and no higher one is there: renaming onto a folder that is not empty
    fails. Whatever is older is put away."""
    made, desk = root / f".{uuid.uuid4().hex}", root / f"{number:06}"
    try:
        made.mkdir()
        (made / "holder.json").write_text(json.dumps(myself()))
        os.rename(made, desk)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise
        return None  # somebody was faster
    if newest(root) != number:
        shutil.rmtree(desk, ignore_errors=True)
        return None
    clean(root, number)
    if old := [
        path.name
        for path in root.iterdir()
        if path.is_dir() and path.name[0] != "." and int(path.name) < number
    ]:
        raise PermissionError(
            errno.EACCES, f"the lease {old[0]} of a former holder cannot be put away", str(root)
        )
    return desk


def newest(root: Path) -> int:
    return max(
        (int(path.name.split(".")[0]) for path in root.iterdir() if path.name[0] != "."), default=0
    )


def clean(root: Path, number: int):
    """Put away what is older than `number`: first by name, at once, then its content."""
    for path in root.iterdir():
        if path.name[0] == "." or int(path.name.split(".")[0]) < number:
            with quietly():
                dead = root / f".{uuid.uuid4().hex}"
                os.rename(path, dead)
                shutil.rmtree(dead) if dead.is_dir() else dead.unlink()


class Watch:
    """Looks at a lease again and again: who holds it, as long as that one lives."""

    def __init__(self, root: Path):
        self.root, self.seen, self.since = root, None, 0.0

    def look(self) -> tuple[int, dict | None]:
        """(the highest number, its holder or None where it was released or its holder is dead)."""
        number = newest(self.root) if self.root.is_dir() else 0
        desk = self.root / f"{number:06}"
        try:
            holder = json.loads((desk / "holder.json").read_text())
            holder["heard"] = (desk / "holder.json").stat().st_mtime
            beat = (number, holder["heard"])
        except (FileNotFoundError, ValueError):
            return number, None
        if holder["host"] == myself()["host"] and has_ended(holder["pid"], holder["started"]):
            return number, None
        if (
            beat != self.seen
        ):  # the clock of another host may differ: what counts is that a beat is new
            self.seen, self.since = beat, time.monotonic()
        return number, holder if time.monotonic() - self.since < SILENCE else None


def myself() -> dict:
    """A host is a machine since it was switched on, with its processes: two containers of one name are two."""
    places = []
    with suppress(OSError):
        places = [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8],
            os.readlink("/proc/self/ns/pid"),
        ]
    return {
        "host": " ".join([socket.gethostname(), *places]),
        "pid": os.getpid(),
        "started": started(os.getpid()),
    }


def started(pid: int) -> str | None:
    """When a process of this machine started, in the system's own unit; None where it does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def has_ended(pid: int, begun: str | None) -> bool:
    """Whether the process of this machine that `begun` then is there no more, or only as a zombie."""
    with suppress(OSError):
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX":
            return True
    if (now := started(pid)) is not None:
        return now != begun
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False  # there, but not for us to see
