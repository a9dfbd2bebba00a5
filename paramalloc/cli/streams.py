"""Standard streams and signals as a command may find them.

They may be closed, have no reader any more, be encoded otherwise than in UTF-8, or be ignored.
"""

import errno
import io
import os
import signal
import sys


class Output(io.FileIO):
    """A standard stream that never ends the work: what it does not take is dropped from then on.

    `reason` is why: EPIPE once the reader has gone (`| head`), or a full disk, a closed terminal.
    """

    reason: OSError | None = None

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.reason = error
            _open_nowhere(self.fileno())  # for the processes that inherit it, too
            return len(data)


def prepare_streams() -> None:
    """Open what is closed, and write to what is there by `Output`, any character.

    A character that the encoding lacks is written as a question mark.
    """
    modes = {"stdin": "r", "stdout": "w", "stderr": "w"}
    for descriptor, (name, mode) in enumerate(modes.items()):
        stream = getattr(sys, name)
        if stream is None:
            _reserve(descriptor)
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))
        elif mode == "w" and os.name == "posix":
            setattr(sys, name, _writer(stream, descriptor))


def _reserve(descriptor: int) -> None:
    """The next file would get the number of a closed stream, and what is written to that."""
    try:
        os.fstat(descriptor)
    except OSError:
        _open_nowhere(descriptor)


def _writer(stream, descriptor: int) -> io.TextIOWrapper:
    buffer = io.BufferedWriter(Output(descriptor, "w", closefd=False))
    by_line = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(buffer, stream.encoding, "replace", line_buffering=by_line)


def _open_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == descriptor:
        os.set_inheritable(descriptor, True)
    else:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def failure() -> OSError | None:
    """Why standard output did not take everything, if it did not."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return getattr(raw, "reason", None)  # None where the stream is somebody else's


def reader_has_gone() -> bool:
    """Whether nobody reads standard output any more."""
    reason = failure()
    return reason is not None and reason.errno == errno.EPIPE


def prepare_signals() -> None:
    """SIGTERM and SIGHUP end a command like Ctrl-C: children first.

    What the command was started to ignore stays ignored: `nohup` ignores SIGHUP.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
