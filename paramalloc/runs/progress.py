"""How long a stage of measuring still takes, in seconds and in words."""

import time


class TimeLeft:
    """Seconds until a stage is done, at the speed of what it has done since it was first told.

    None where that is not known yet.
    """

    def __init__(self) -> None:
        self.stage = ""
        self.began = 0.0
        self.first = 0.0

    def __call__(self, stage: str, fraction: float) -> float | None:
        """Note that `fraction` (0 to 1) of a stage is done."""
        now = time.monotonic()
        if stage != self.stage:
            self.stage = stage
            self.began = now
            self.first = fraction
        done = fraction - self.first
        if done <= 0:
            return None
        return (now - self.began) * (1 - fraction) / done


def describe_stage(stage: str, fraction: float, seconds: float | None) -> str:
    """A stage in words; nothing is said of what is not known.

    >>> describe_stage("perplexity of dev", 0.4, 65.2)
    'perplexity of dev 40%, 1:05 left'
    >>> describe_stage("inference cost, cpu", 0.0, None)
    'inference cost, cpu'
    """
    words = stage
    if fraction:
        words += f" {fraction:.0%}"
    if seconds is not None:
        words += f", {describe_seconds(seconds)} left"
    return words


def describe_seconds(seconds: float) -> str:
    """Minutes and seconds as 1:05."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    return f"{minutes}:{rest:02}"
