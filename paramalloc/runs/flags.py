"""Early stop: the rule that compares two curves at equal tokens, and the flags that it gives.

Only `kill` needs the rule while a run trains. A flag follows from what two runs recorded: it is
computed when somebody looks at them, so that no run waits for its baseline, and one that is trained
or restored later still counts.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..config import TrainConfig
from .identity import run_id
from .reading import read_metrics

Row = dict[str, Any]  # a result, with the keys of result.json
Probes = list[tuple[int, float]]  # (tokens, loss) of each, as dev_curve holds them


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

    def _compare(self, tokens: int, difference: float) -> None:
        self.compared = True
        worse = difference >= self.margin
        if not worse:
            self.since = None
            return
        if self.since is None:
            self.since = tokens
        if tokens - self.since >= self.patience and self.fired is None:
            self.fired = tokens


def describe_early_stop(config: TrainConfig, fingerprint: str) -> Row:
    """The columns about early stop that are known before training.

    The rule's numbers are there where a baseline is to compare with: not for the baseline itself.
    """
    baseline_run = run_id(config.baseline(), fingerprint)
    if config.early_stop == "off" or baseline_run == run_id(config, fingerprint):
        return {"early_stop": config.early_stop}
    return {
        "early_stop": config.early_stop,
        "baseline_run": baseline_run,
        "stop_margin": config.stop_margin,
        "stop_patience": config.patience,
        "stop_grace": config.grace,
    }


def with_flags(rows: Iterable[Row], outputs: Path | None = None) -> list[Row]:
    """The rows; those in `flag` mode with what early stop says of their probes.

    The baseline's probes are those of its row, or else of its folder under `outputs`. Both curves
    count to the five digits of `dev_curve`, so that a table says what the run folders say.

    A flag that is recorded stands: older runs compared all digits while they trained, and a table
    may have left the baseline behind. Rows that do not name their `baseline_run` stay as they are.
    """
    rows = list(rows)
    known = {row.get("run_id"): row["dev_curve"] for row in rows if row.get("dev_curve")}

    def curve(run: str) -> dict[int, float]:
        if run not in known:
            known[run] = read_probes(outputs / "runs" / run) if outputs else []
        return _perplexities(known[run])

    return [_flagged(row, curve) for row in rows]


def read_probes(folder: Path) -> Probes:
    """The probes of a run so far, as its dev_curve will hold them."""
    return as_probes(read_metrics(folder, "dev_loss"))


def as_probes(records: list[dict[str, Any]]) -> Probes:
    """Those of records that hold one."""
    return [
        (record["tokens"], round(record["dev_loss"], 5))
        for record in records
        if "dev_loss" in record
    ]


def _flagged(row: Row, curve: Callable[[str], dict[int, float]]) -> Row:
    """The row with `compared` and `flagged_at_tokens`, unless nothing is to be computed."""
    asks = row.get("early_stop") == "flag" and row.get("baseline_run")
    if not asks or row.get("flagged_at_tokens"):
        return row
    baseline = curve(row["baseline_run"])
    rule = EarlyStop(baseline.get, row["stop_margin"], row["stop_patience"], row["stop_grace"])
    for tokens, dev_ppl in _perplexities(row.get("dev_curve") or []).items():
        rule(tokens, dev_ppl)
    compared = rule.compared or bool(row.get("compared"))
    return row | {"compared": compared, "flagged_at_tokens": rule.fired}


def _perplexities(probes: Probes) -> dict[int, float]:
    """Tokens -> dev perplexity; at most exp(700), as training records it."""
    return {tokens: math.exp(min(loss, 700.0)) for tokens, loss in probes}
