"""Early stop: the rule that compares a run with the baseline at equal tokens.

Which run is the baseline, patience and grace are properties of `config.TrainConfig`.
"""

import time
from collections.abc import Callable

from ..config import TrainConfig
from ..runs import Run, Watch


class EarlyStop:
    """Fires when dev perplexity is `margin` above the baseline's for `patience` tokens in a row.

    `baseline(tokens)` is the baseline's dev perplexity after as many tokens, or None. Probes before
    `grace` tokens, and those that the baseline has none for, do not count.

    >>> stop = EarlyStop({100: 10.0, 200: 9.0, 300: 8.0}.get, margin=0.5, patience=200, grace=100)
    >>> [stop(tokens, dev_ppl=10.5) for tokens in (100, 200, 300)]
    [False, False, True]
    """

    def __init__(
        self, baseline: Callable[[int], float | None], margin: float, patience: int, grace: int
    ):
        self.baseline = baseline
        self.margin = margin
        self.patience = patience
        self.grace = grace
        self.since: int | None = None  # tokens since which every probe was worse
        self.fired: int | None = None  # tokens at which the rule fired
        self.compared = False  # whether the baseline had a probe to compare with

    def __call__(self, tokens: int, dev_ppl: float) -> bool:
        """Note a probe; whether the rule has fired, now or before."""
        if tokens >= self.grace:
            baseline_ppl = self.baseline(tokens)
            if baseline_ppl is not None:
                self._compare(tokens, dev_ppl - baseline_ppl)
        return self.fired is not None

    def _compare(self, tokens: int, difference: float):
        self.compared = True
        worse = difference >= self.margin
        if not worse:
            self.since = None
            return
        if self.since is None:
            self.since = tokens
        if tokens - self.since >= self.patience and self.fired is None:
            self.fired = tokens


class Curve:
    """curve(tokens) -> a run's dev perplexity there.

    It waits while that run is still training and has not reached it.
    """

    def __init__(self, run: Run, interrupted: Callable[[], bool] = lambda: False):
        self.run = run
        self.interrupted = interrupted
        self.watch = Watch(run.folder / "lease")
        self.probes: dict[int, float] = {}
        self.warned = False

    def __call__(self, tokens: int) -> float | None:
        while tokens not in self.probes:
            # The order matters: what the run wrote before it ended is read after this look.
            _, holder = self.watch.look()
            self.probes = self.run.curve()
            if tokens in self.probes or not holder or self.interrupted():
                break
            time.sleep(0.5)
        if tokens not in self.probes:
            self._warn(tokens)
        return self.probes.get(tokens)

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
    """The rule against the baseline run of this corpus.

    The baseline itself is never stopped. Once `interrupted()` the baseline is not waited for any
    more.
    """
    curve = _baseline_curve(config, run, fingerprint, interrupted)
    return EarlyStop(curve, config.stop_margin, config.patience, config.grace)


def _baseline_curve(
    config: TrainConfig, run: Run, fingerprint: str, interrupted: Callable[[], bool]
) -> Callable[[int], float | None]:
    baseline = Run(config.baseline(), fingerprint)
    if config.early_stop == "off" or baseline.id == run.id:
        return _no_curve
    return Curve(baseline, interrupted)


def _no_curve(tokens: int) -> None:
    """The curve of no baseline."""
