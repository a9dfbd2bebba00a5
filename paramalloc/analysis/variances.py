"""The variance of each cell's runs, shrunk towards that of its share, and that towards the pooled.

Three seeds say little about one cell, and a variance pooled over all is wrong where some scatter
more. So a sample variance s^2 on d degrees of freedom is averaged with a prior s0^2 that counts as
d0 of them (Smyth 2004, Linear models and empirical Bayes methods, sec. 3):

    v = (d0 s0^2 + d s^2) / (d0 + d)

A share's prior is the pooled variance, a cell's prior is the variance of its share. A dozen cells
do not tell the two d0, so they are fixed: in simulated studies at most 7.2 % make a false claim,
and four standard errors of a difference are found in 80 % (tests/bench/bench_claims.py). What is
not covered: a cell other than the baseline that alone scatters three times as much is told from it
falsely in about one study in ten.

A *reference* needs more, as its error is in all of its differences. A baseline three times as noisy
as the rest has a sample variance below the pooled one in a study of ten, and then everything seems
to differ from it. So its variance also counts the shift that half of its differences share, as far
as its own seeds can explain that (`reference_variance`). The price is power where a reference truly
is worse, or better, than most cells: four standard errors are then found in 62 % of studies, eight
in 99 %.

Shapes: N runs, C cells, m groups of runs.
"""

from __future__ import annotations

import numpy as np

SHARE_PRIOR, CELL_PRIOR = 4.0, 12.0  # d0
NO_DF = 1e-9  # degrees of freedom of runs that the model fits exactly, but for rounding
SHIFT_WEIGHT = 0.3  # of a shared shift in the variance of a reference
SHIFT_ERRORS = 3  # standard errors by the seeds of a reference: a larger shift is no noise


def cell_variances(
    maker: np.ndarray, residual: np.ndarray, sigma2: float, cell: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(C,) each: the variance of one run, its degrees of freedom, the sample variance.

    `residual` (N,) are those of a model whose residuals `maker` (N, N) makes, and `sigma2` is their
    variance if it is the same for all. `cell` and `share` (N,) are codes.
    """
    prior = np.full(share.max(initial=-1) + 1, sigma2)
    sample, df = _sample_variances(maker, residual, sigma2, share)
    of_share = (SHARE_PRIOR * prior + df * sample) / (SHARE_PRIOR + df)

    prior = of_share[share[np.unique(cell, return_index=True)[1]]]
    sample, df = _sample_variances(maker, residual, sigma2, cell)
    of_cell = (CELL_PRIOR * prior + df * sample) / (CELL_PRIOR + df)
    return of_cell, CELL_PRIOR + df, np.where(df > NO_DF, sample, of_cell)


def _sample_variances(
    maker: np.ndarray, residual: np.ndarray, sigma2: float, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The sample variance of each group (m,) and its degrees of freedom, 0 where it has none.

    A group's residuals hold some of the noise of all others, whose runs were fitted with it. That
    is taken off at the pooled variance. What is left is a quadratic form in the group's own noise:
    its mean is d times its variance, and d are its degrees of freedom.
    """
    member = np.eye(group.max(initial=-1) + 1)[group]  # (N, m)
    df = np.einsum("im,ij,jm->m", member, np.square(maker), member)
    others = np.diag(maker) @ member - df
    own = (np.square(residual) @ member - others * sigma2).clip(0)
    return own / np.where(df > NO_DF, df, 1.0), np.where(df > NO_DF, df, 0.0)


def reference_variance(
    variance: float, sample: float, differences: np.ndarray, error: float
) -> float:
    """The variance of one run of a reference, from its differences to the other cells.

    The shift that at least half of the `differences` share, in units of a run: `error` is the
    variance of the reference's mean over that of a run. Of a larger shift than its own seeds can
    explain (`sample`) only SHIFT_ERRORS standard errors count.
    """
    middle = np.sort([0.0, *differences])  # of all cells, the reference itself among them
    shift = min(middle[(len(middle) - 1) // 2], middle[len(middle) // 2], key=abs)
    explained = SHIFT_ERRORS**2 * sample
    return variance + SHIFT_WEIGHT * min(shift**2 / error, explained)
