"""Processes of this machine: which one this is, and whether another one has ended."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any


def myself() -> dict[str, Any]:
    """This process as a holder. A host is a machine since it was switched on, with its processes:
    two containers of one name are two."""
    places = []
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        places = [boot, os.readlink("/proc/self/ns/pid")]
    host = " ".join([socket.gethostname(), *places])
    return {"host": host, "pid": os.getpid(), "started": started(os.getpid())}


def started(pid: int) -> str | None:
    """When a process of this machine started, in the system's unit; None where it is unknown."""
    with suppress(OSError):
        return _stat(pid)[19]
    return None


def has_ended(pid: int, begun: str | None) -> bool:
    """Whether the process of this machine that started at `begun` is gone, or a zombie."""
    with suppress(OSError):
        if _stat(pid)[0] in "ZX":
            return True
    now = started(pid)
    if now is not None:
        return now != begun
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # there, but not for us to see
    return False


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
