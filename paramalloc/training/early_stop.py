"""When a run is clearly worse than the baseline's, at equal tokens: the rule, and the curve that it reads."""

import time

from ..config import TrainConfig
from ..runs import Run, Watch


def make_early_stop(
    config: TrainConfig, run: Run, fingerprint: str, interrupted=lambda: False
) -> "EarlyStop":
    """The rule against the baseline's curve, if that run is there; the baseline itself is never stopped. Nothing is waited
    for any more once `interrupted()`."""
    baseline = Run(config.baseline(), fingerprint)
    compares = config.early_stop != "off" and baseline.id != run.id
    curve = Curve(baseline, interrupted) if compares else lambda tokens: None
    return EarlyStop(curve, config.stop_margin, config.patience, config.grace)


class EarlyStop:
    """Fires when dev perplexity was at least `margin` above the baseline's, at equal tokens, `patience` tokens long.

    `baseline(tokens)` is the baseline's dev perplexity there, or None. Probes before `grace` tokens, and those that the
    baseline has none for, do not count.
    """

    def __init__(self, baseline, margin: float, patience: int, grace: int):
        self.baseline, self.margin, self.patience, self.grace = baseline, margin, patience, grace
        self.since = self.fired = None
        self.compared = False  # whether the baseline had a probe to compare with

    def __call__(self, tokens: int, dev_ppl: float) -> bool:
        theirs = self.baseline(tokens) if tokens >= self.grace else None
        if theirs is None:
            return self.fired is not None
        self.compared = True
        worse = dev_ppl - theirs >= self.margin
        self.since = None if not worse else tokens if self.since is None else self.since
        if worse and tokens - self.since >= self.patience and self.fired is None:
            self.fired = tokens
        return self.fired is not None


class Curve:
    """A run's dev perplexity at a token count, waited for while that run is still on its way there."""

    def __init__(self, run: Run, interrupted=lambda: False):
        self.run, self.watch, self.known, self.warned = run, Watch(run.folder / "lease"), {}, False
        self.interrupted = interrupted

    def __call__(self, tokens: int) -> float | None:
        while tokens not in self.known:
            _, alive = self.watch.look()  # asked first: what it wrote before it ended is read below
            self.known = self.run.curve()
            if tokens in self.known or not alive or self.interrupted():
                break
            time.sleep(0.5)
        if tokens not in self.known and not self.warned and not self.interrupted():
            print(
                f"early stop: the baseline run {self.run.id} has no probe at {tokens:,} tokens to compare with"
            )
            self.warned = True
        return self.known.get(tokens)
