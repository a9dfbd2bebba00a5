"""SIGTERM and Ctrl-C while a run trains: the run is saved first."""

import signal
import threading

from ..errors import InterruptedRunError


class Interrupt:
    """A context in which a signal is only noted in `caught`.

    The loop saves the run and then calls `obey`.

    After `at_once`, when the trained weights are saved already, a signal ends the run where it
    stands.
    """

    def __init__(self):
        self.caught = False
        self.message = ""
        self.handlers = {}  # what handled each signal before

    def __enter__(self):
        # Only the main thread can set signal handlers.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self.handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def obey(self, message: str):
        """Raise InterruptedRunError with `message` if a signal came."""
        if self.caught:
            raise InterruptedRunError(message)

    def at_once(self, message: str):
        """From here on end as soon as a signal comes, and now if one came already."""
        self.message = message
        self.obey(message)

    def _note(self, number, frame):
        self.caught = True
        if self.message:
            raise InterruptedRunError(self.message)
