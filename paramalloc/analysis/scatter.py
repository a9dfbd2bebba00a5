"""Do the cells scatter equally? Standard deviations of runs by share and by cell, and a test."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from .noise import fit
from .selection import eligible_runs
from .variances import NO_DF

SCATTER_COLUMNS = ["requested_share", "cell", "n_runs", "sd", "sd_used"]


def scatter_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Run-to-run standard deviations (nats per token) at a fixed seed: a row a share, then a cell.

    Columns requested_share; cell (None in the row of a share); n_runs; sd, of these runs alone;
    sd_used, of the intervals: shrunk (`variances`), of a share the root mean square of its cells'.
    No rows where no seed repeats.
    """
    eligible = eligible_runs(runs)
    model = fit(eligible)
    if not model.df:
        return pd.DataFrame(columns=SCATTER_COLUMNS)
    used = pd.Series(model.variance, model.cells)[eligible.cell].to_numpy()
    df = np.diag(model.maker)  # of each run: they add up to the model's
    eligible = eligible.assign(used=used, squares=np.square(model.residual), df=df)
    tables = []
    for names in (["requested_share"], ["requested_share", "cell"]):
        groups = eligible.groupby(names, dropna=False, sort=False)
        table = groups.agg(
            n_runs=("seed", "size"),
            used=("used", "mean"),
            squares=("squares", "sum"),
            df=("df", "sum"),
        )
        sd = np.sqrt(table.squares / table.df.where(table.df > NO_DF))
        tables.append(table.assign(sd=sd, sd_used=np.sqrt(table.used)).reset_index())
    return pd.concat(tables, ignore_index=True).reindex(columns=SCATTER_COLUMNS)


def equal_scatter_p(runs: pd.DataFrame) -> float:
    """The p value of the hypothesis that the runs of all shares scatter equally.

    The test of Brown & Forsythe (1974) on the residuals of the cell + seed model. NaN with one
    share, or where no seed repeats.
    """
    eligible = eligible_runs(runs)
    if eligible.requested_share.nunique() < 2:
        return math.nan
    model = fit(eligible)
    if not model.df:
        return math.nan
    residuals = pd.Series(model.residual).groupby(eligible.requested_share.to_numpy())
    return float(stats.levene(*(part for _, part in residuals), center="median").pvalue)
