"""What an engine starts: papermill, which ends itself once its parent is gone.

    python -P papermill_process.py PARENT_PID ARGUMENTS OF papermill

It is `python -m papermill` with three differences. It ends once its parent is gone, and its kernel
with it, so that nothing trains on that nobody waits for. The kernel is this interpreter, whatever
else the user has named python3. And jsonschema does not build a grammar
of web addresses first, which takes half of the two seconds that papermill needs to start.

It is executed as a file, not with -m, which would import all of paramalloc.sweep for it.
"""

import io
import os
import signal
import sys
import threading
import time


def end_with(parent: int) -> None:
    """Wait until this process has another parent, then end it at once."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _main() -> None:
    parent = int(sys.argv.pop(1))
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    # What a shell starts with & would ignore it, and never save its run.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # whoever reads them reads UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # importing it fails
    from jupyter_client.kernelspec import KernelSpecManager
    from papermill.cli import papermill

    KernelSpecManager.kernel_dirs = []  # type: ignore[assignment]
    papermill()


if __name__ == "__main__":
    _main()
