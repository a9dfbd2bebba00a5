"""The runs at other learning rates, recomputed from a results.csv: nothing here is paramalloc's."""

import numpy as np
import pandas as pd
from recomputed import TUNING_SEED, Study
from scipy import stats


class Rates:
    """The tuning runs of a study: a row of `losses` a cell, a column a rate."""

    def __init__(self, study: Study):
        tuning = study.rows[(study.rows.seed >= TUNING_SEED) & study.rows.dev_loss.notna()]
        self.study = study
        [self.tokens] = tuning.tokens.unique()
        [self.seed] = tuning.seed.unique()
        [self.lr] = study.grid.lr.unique()
        self.precisions = sorted(tuning.precision.unique())
        self.losses = tuning.pivot(index="cell", columns="lr", values="dev_loss")
        self.n_tried = self.losses.notna().sum(axis=1)
        self.gains = self.losses[self.lr] - self.losses.min(axis=1)
        self.best = self.losses.idxmin(axis=1)

    def common(self) -> tuple:
        """The best of the other rates that all cells tried, scipy's paired test, p adjusted."""
        shared = self.losses.dropna(axis=1)
        rate = shared.drop(columns=self.lr).mean().idxmin()
        test = stats.ttest_rel(shared[rate], shared[self.lr])
        return rate, test, min(1.0, (shared.shape[1] - 1) * test.pvalue)

    def own(self) -> pd.Series:
        """The losses of the runs on other seeds, each at its cell's best rate."""
        claims = self.study.claims[self.study.claims.tokens == self.tokens]
        runs = claims[np.isclose(claims.lr, claims.cell.map(self.best))]
        assert runs.seed.nunique() == 1
        return runs.set_index("cell").dev_loss

    def error(self) -> float:
        """The standard error of a distance of two shares, from single runs."""
        expansions = {cell.split(" × ")[1] for cell in self.losses.index}
        return self.study.sigma * float(np.sqrt(2 / len(expansions)))


def distance(losses: pd.Series, share: str, to: str = "35 %") -> float:
    """The mean over the cells of a share less that of another."""
    shares = losses.groupby([cell.split(" × ")[0] for cell in losses.index]).mean()
    return float(shares[share] - shares[to])
