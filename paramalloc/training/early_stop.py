"""Early stop while a run trains: `kill` waits for the baseline's curve.

Which run is the baseline, patience and grace are properties of `config.TrainConfig`; the rule is
`runs.EarlyStop`. `flag` waits for nothing: `runs.with_flags` compares the curves afterwards.
"""

import math
import time
from collections.abc import Callable

from ..config import TrainConfig
from ..runs import EarlyStop, Run, Watch

RESTART_S = 30  # seconds that another process may take to go on with the run of a lost one


class Curve:
    """curve(tokens) -> a run's dev perplexity there.

    It waits while that run is still training and has not reached it.
    """

    def __init__(self, run: Run, interrupted: Callable[[], bool] = lambda: False):
        self.run = run
        self.interrupted = interrupted
        self.watch = Watch(run.folder / "lease")
        self.held = -math.inf  # when a process last trained it
        self.probes: dict[int, float] = {}
        self.warned = False

    def __call__(self, tokens: int) -> float | None:
        while tokens not in self.probes:
            # The order matters: what the run wrote before it ended is read after this look.
            is_trained = self._is_trained()
            self.probes = self.run.curve()
            if tokens in self.probes or not is_trained or self.interrupted():
                break
            time.sleep(0.5)
        if tokens not in self.probes:
            self._warn(tokens)
        return self.probes.get(tokens)

    def _is_trained(self) -> bool:
        """Whether a process trains the run, or may be about to go on in place of a lost one."""
        _, holder = self.watch.look()
        if holder:
            self.held = time.monotonic()
        return time.monotonic() - self.held < RESTART_S and self.run.result is None

    def _warn(self, tokens: int):
        """Say once that there is nothing to compare with."""
        if self.warned or self.interrupted():
            return
        self.warned = True
        print(
            f"early stop: the baseline run {self.run.id} has no probe at {tokens:,} tokens "
            "to compare with"
        )


def make_early_stop(
    config: TrainConfig, run: Run, fingerprint: str, interrupted: Callable[[], bool]
) -> EarlyStop:
    """The rule against the baseline run of this corpus; it compares nothing but under `kill`.

    The baseline itself is never stopped. Once `interrupted()` the baseline is not waited for any
    more.
    """
    curve = _baseline_curve(config, run, fingerprint, interrupted)
    return EarlyStop(curve, config.stop_margin, config.patience, config.grace)


def _baseline_curve(
    config: TrainConfig, run: Run, fingerprint: str, interrupted: Callable[[], bool]
) -> Callable[[int], float | None]:
    baseline = Run(config.baseline(), fingerprint)
    if config.early_stop != "kill" or baseline.id == run.id:
        return _no_curve
    return Curve(baseline, interrupted)


def _no_curve(tokens: int) -> None:
    """The curve of no baseline."""
