"""The level of all intervals, the number of simulated draws, the seeds a difference needs."""

from __future__ import annotations

import math

from scipy import stats

LEVEL = 0.05  # intervals hold 95 %, tests keep false positives below 5 % in all
POWER = 0.8
DRAWS = 4_000  # of a probability or a mean that is simulated


def seeds_needed(difference: float, sd: float, paired: bool) -> int:
    """Seeds that each of two cells needs to find a difference (nats).

    By a two-sided t test at 5 % with a power of 80 %. `sd` (nats) is that of one run: with `paired`
    seeds without what runs of a seed share. 2 where runs do not scatter.
    """
    if not sd:
        return 2
    # With a known sd, which is a lower bound for an estimated one.
    quantiles = stats.norm.ppf([1 - LEVEL / 2, POWER]).sum()
    n = max(2, math.ceil(2 * (quantiles * sd / difference) ** 2))
    while power(difference / sd, n, paired) < POWER:
        n += 1
    return n


def power(effect: float, n: int, paired: bool) -> float:
    """Of a two-sided t test of a difference of `effect` sd with n runs a side.

    Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, ch. 2.
    """
    df = (1 if paired else 2) * (n - 1)
    shift = abs(effect) * math.sqrt(n / 2)
    critical = stats.t.ppf(1 - LEVEL / 2, df)
    return float(stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift))
