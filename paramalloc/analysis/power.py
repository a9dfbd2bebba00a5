"""How many seeds a difference needs."""

from __future__ import annotations

import math

from scipy import stats

LEVEL = 0.05  # intervals hold 95 %, a difference is claimed at 5 % in all
POWER = 0.8


def seeds_needed(difference: float, sd: float, paired: bool) -> int:
    """Seeds that each of two cells needs for a difference to be found by a two-sided t test at 5 % with a power of 80 %. `sd` is
    that of one run: with `paired` seeds without what runs of a seed share. 2 where runs do not scatter."""
    if not sd:
        return 2
    needed = (
        2 * (stats.norm.ppf([1 - LEVEL / 2, POWER]).sum() * sd / difference) ** 2
    )  # for a known sd: not enough
    n = max(2, math.ceil(needed))
    while power(difference / sd, n, paired) < POWER:
        n += 1
    return n


def power(effect: float, n: int, paired: bool) -> float:
    """Of a two-sided t test of a difference of `effect` sd with n runs a side (Cohen 1988, ch. 2)."""
    df, shift = (1 if paired else 2) * (n - 1), abs(effect) * math.sqrt(n / 2)
    critical = stats.t.ppf(1 - LEVEL / 2, df)
    return float(stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift))
