"""The cores that a process may use, and how the threads of torch wait for one another.

Between two operations the threads of an OpenMP runtime spin for milliseconds, each on a core of its
own. Beside other work they take that core from the thread they wait for. So they sleep instead,
unless the environment already says how they wait.

The runtime reads the environment once, when torch is imported. So it is set as soon as anything of
paramalloc is imported, and where torch came first it is too late.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

THREADS = "OMP_NUM_THREADS"
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}

# What a user may have set to say how threads wait: of GNU's runtime, of LLVM's and Intel's, of all.
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def process_environment(threads: int | None = None) -> dict[str, str]:
    """The variables to start a process with that trains or measures with so many threads.

    None leaves their number to torch. What the environment of this process says goes before.
    """
    names = [*SETTINGS, THREADS]
    variables = {name: os.environ[name] for name in names if name in os.environ}
    if threads is not None:
        variables.setdefault(THREADS, str(max(1, threads)))
    return variables


def cores() -> int:
    """How many cores this process may use: by its affinity, and by the quota of its container."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, int(min(count, core_quota())))


def core_quota(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float:
    """Seconds of CPU time a second that the control groups of this process leave it, or infinity.

    A batch system or a container sets them, at any level above the process.
    """
    quotas = [float("inf")]
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                top = groups / "cpu" if controllers else groups
                folder = top / path.lstrip("/")
                while folder.is_relative_to(top):
                    quotas.append(_quota_of(folder))
                    folder = folder.parent
    return min(quotas)


def _quota_of(folder: Path) -> float:
    """The quota of one control group, of version 2 or 1; infinity where it has none."""
    with suppress(OSError, ValueError):
        if (folder / "cpu.max").exists():
            quota, period = map(float, (folder / "cpu.max").read_text().split())  # "max" is none
            return quota / period
        quota = float((folder / "cpu.cfs_quota_us").read_text())
        period = float((folder / "cpu.cfs_period_us").read_text())
        if quota > 0:
            return quota / period
    return float("inf")


def _let_threads_sleep() -> bool:
    """Let the threads of this process sleep while they wait, unless its environment says otherwise.

    False where torch was imported before, which makes it too late.
    """
    if any(name in os.environ for name in SETTINGS):
        return True
    os.environ.update(WAITING)
    return "torch" not in sys.modules


IN_TIME = _let_threads_sleep()
