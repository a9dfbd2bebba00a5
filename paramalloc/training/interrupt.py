"""SIGTERM and Ctrl-C while a run trains: it is kept first."""

import signal
import threading

from ..errors import InterruptedRunError


class Interrupt:
    """Within it a signal is only noted in `caught`, for the loop to keep the run and then `obey`. After `at_once`, when
    everything that training took is kept already, a signal ends the run where it stands."""

    def __init__(self):
        self.caught, self.message, self.before = False, "", {}

    def __enter__(self):
        if (
            threading.current_thread() is threading.main_thread()
        ):  # elsewhere Python lets nobody listen
            self.before = {
                number: signal.signal(number, self._note)
                for number in (signal.SIGTERM, signal.SIGINT)
            }
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.caught = True
        if self.message:
            raise InterruptedRunError(self.message)

    def obey(self, message: str):
        """End here if a signal came."""
        if self.caught:
            raise InterruptedRunError(message)

    def at_once(self, message: str):
        self.message = message
        self.obey(message)
