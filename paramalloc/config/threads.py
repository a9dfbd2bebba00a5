"""The cores that a process may use, and how the threads of torch wait for one another.

Between two operations the threads of an OpenMP runtime spin for milliseconds, each on a core of its
own. Beside other work they take that core from the thread they wait for. Threads that sleep at once
lose up to half of the speed on a quiet machine, where operations are short. So they spin for some
microseconds and then sleep, unless the environment already says how they wait
(tests/bench/bench_busy.py measures it).

The runtime reads the environment once, when torch is imported. So the environment is set as soon as
anything of paramalloc is imported; where torch came first it is too late.
"""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path

THREADS = "OMP_NUM_THREADS"

# GNU's runtime spins so often, and then sleeps; the policy is for LLVM's and Intel's.
WAIT = {"GOMP_SPINCOUNT": "1000", "OMP_WAIT_POLICY": "PASSIVE"}

# How threads wait: of any OpenMP runtime, of GNU's, of LLVM's and Intel's. One is enough.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


# ------------------------------------------------------------- environment


def process_environment(threads: int | None = None) -> dict[str, str]:
    """The variables to start a process with that trains or measures with so many threads.

    None leaves their number to torch. What the user's environment says goes before.
    """
    variables = {name: os.environ[name] for name in (*WAITING, THREADS) if name in os.environ}
    if threads is not None:
        variables.setdefault(THREADS, str(max(1, threads)))
    return variables


def _let_threads_sleep() -> bool:
    """Let threads sleep while they wait, unless the environment says how they wait.

    False where torch was imported before, which is too late for this process.
    """
    if any(name in os.environ for name in WAITING):
        return True
    os.environ.update(WAIT)
    return "torch" not in sys.modules


THREADS_SLEEP = _let_threads_sleep()


# ------------------------------------------------------------------- cores


def cores() -> int:
    """How many cores this process may use: by its affinity, and by the quota of its container."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, int(min(count, core_quota())))


def overload(jobs: int = 1) -> str:
    """A line about more threads than cores, with `jobs` processes at a time; empty without them.

    Only a user asks for so many. They are not refused, because sums depend on their number.
    """
    threads = process_environment(cores() // jobs)[THREADS]
    if not threads.isdigit() or jobs * int(threads) <= cores():
        return ""
    return (
        f"{jobs * int(threads)} threads are asked for, but this process has {cores()} cores: "
        f"lower {THREADS if jobs == 1 else f'--jobs or {THREADS}'}"
    )


def core_quota(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float:
    """Cores' worth of time that the control groups of this process leave it; infinity without any.

    A container or a batch system sets such a quota, on any level above the process.
    """
    quotas = [math.inf]
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            top = groups / "cpu" if controllers else groups  # version 1, version 2
            folder = top / path.lstrip("/")
            quotas += [_quota_of(level) for level in (folder, *folder.parents)]
    return min(quotas)


def _quota_of(folder: Path) -> float:
    """The quota of one control group, of version 2 or 1; infinity where it has none."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return float(quota) / float(period)  # not where the quota is "max"
    with suppress(OSError, ValueError):
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
        if float(quota) > 0:
            return float(quota) / float(period)
    return math.inf
