"""The study recomputed from a results.csv by other code: nothing here is paramalloc's.

For a grid in which every cell has the same seeds. A loss is in nats per token. Whatever the report
simulates is simulated here with other draws, so it agrees within a tolerance (`agreement.about`).
"""

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from recomputed_draws import draw_sizes, step_down
from scipy import stats

TUNING_SEED = 1000  # from here on, seeds only choose a learning rate
BASELINE = "35 % × 2.66"
SHARE_PRIOR, CELL_PRIOR = 4, 12  # degrees of freedom that a prior variance counts as
SHIFT_WEIGHT, DEVIATION_WEIGHT, SHIFT_ERRORS = 0.3, 0.06, 3


class Study:
    """The numbers of one table. `grid` are the runs of the budget that most runs on seeds have."""

    def __init__(self, path: Path):
        rows = pd.read_csv(path)
        names = zip(rows.requested_share, rows.requested_glu, strict=True)
        self.rows = rows.assign(cell=[f"{100 * share:g} % × {glu:g}" for share, glu in names])
        self.claims = self.rows[(rows.status == "completed") & (rows.seed < TUNING_SEED)]
        self.tokens = self.claims.tokens.mode()[0]
        self.grid = self.claims[self.claims.tokens == self.tokens]
        self.cells = self.grid.groupby("cell")
        self.losses = self.grid.pivot(index="cell", columns="seed", values="dev_loss")
        self.means = self.losses.mean(axis=1).sort_values()
        self.best = self.means.index[0]
        self.n_cells, self.n_seeds = self.losses.shape
        assert self.losses.notna().all(axis=None), "every cell has the same seeds"

    # ---- noise

    @cached_property
    def residuals(self) -> pd.DataFrame:
        """Of the model of cell plus seed, balanced: double centering."""
        by_cell = self.losses.sub(self.losses.mean(axis=1), axis=0)
        return by_cell - by_cell.mean()

    @property
    def df(self) -> int:
        return (self.n_cells - 1) * (self.n_seeds - 1)

    @property
    def sigma(self) -> float:
        return float(np.sqrt(np.square(self.residuals).sum(axis=None) / self.df))

    @property
    def sigma_interval(self) -> np.ndarray:
        return self.sigma * np.sqrt(self.df / stats.chi2.ppf([0.975, 0.025], self.df))

    @property
    def sigma_seed(self) -> float:
        """By the mean squares of an analysis of variance."""
        between = self.n_cells * self.losses.mean().var()
        return float(np.sqrt(max(between - self.sigma**2, 0.0) / self.n_cells))

    # ---- a variance for each cell

    def df_of(self, n: int, prior: float = 0.0) -> float:
        """Degrees of freedom of the residuals of n cells, with those that a prior counts as."""
        return n * (self.n_seeds - 1) * (1 - 2 / self.n_cells + n / self.n_cells**2) + prior

    def sample(self, cells: list[str]) -> float:
        """The variance of the runs of these cells, whose residuals hold the noise of all others."""
        n = len(cells)
        total = np.square(self.residuals.loc[cells]).sum(axis=None)
        others = n * (self.n_seeds - 1) * (1 - 1 / self.n_cells) - self.df_of(n)
        return max(total - others * self.sigma**2, 0.0) / self.df_of(n)

    def shrunk(self, cells: list[str], towards: float, prior: float) -> float:
        """The average of the sample variance and one that counts as so many degrees of freedom."""
        both = prior * towards + self.df_of(len(cells)) * self.sample(cells)
        return both / self.df_of(len(cells), prior)

    @cached_property
    def variances(self) -> pd.Series:
        """Of one run: of a cell, shrunk towards that of its share, and that towards all cells'."""
        found = {}
        for cell in self.losses.index:
            share = self.shrunk(self._of(cell.split(" × ")[0]), self.sigma**2, SHARE_PRIOR)
            found[cell] = self.shrunk([cell], share, CELL_PRIOR)
        return pd.Series(found)

    def with_shift(self, cell: str) -> float:
        """The variance of a cell that others are compared with: more, if it is off the middle."""
        off = np.sort((self.losses.mean(axis=1) - self.losses.mean(axis=1)[cell]).to_numpy())
        shift = np.abs(off[[(self.n_cells - 1) // 2, self.n_cells // 2]]).min()
        most = SHIFT_ERRORS**2 * self.sample([cell])
        return self.variances[cell] + SHIFT_WEIGHT * min(self.n_seeds * shift**2, most)

    @property
    def equal_scatter_p(self) -> float:
        """The test of Brown and Forsythe by hand: do distances from the medians differ?"""
        shares = self.residuals.groupby(lambda cell: cell.split(" × ")[0])
        distances = [abs(part.stack() - part.stack().median()) for _, part in shares]
        return float(stats.f_oneway(*distances).pvalue)

    def scatter_of(self, cells: list[str]) -> float:
        """The standard deviation of the runs of these cells around the model."""
        df = len(cells) * (self.n_seeds - 1) * (1 - 1 / self.n_cells)
        return float(np.sqrt(np.square(self.residuals.loc[cells]).sum(axis=None) / df))

    def mean_half(self, cell: str) -> float:
        """Half the interval of a cell's mean over seeds, where seeds have no common effect."""
        within = np.square(self.losses.sub(self.losses.mean(axis=1), axis=0)).sum(axis=None)
        df = self.n_cells * (self.n_seeds - 1)
        assert within / df <= self.sigma**2, "then the seeds' own variance would add to it"
        df = min(df, self.df_of(1, CELL_PRIOR))
        return float(stats.t.ppf(0.975, df) * np.sqrt(self.variances[cell] / self.n_seeds))

    def seeds_needed(self, gap: float) -> int:
        """The least n at which a paired t test of two cells finds a gap with a power of 80 %."""
        for n in range(2, 1000):
            shift, critical = gap / self.sigma * np.sqrt(n / 2), stats.t.ppf(0.975, n - 1)
            missed = stats.nct.cdf(critical, n - 1, shift) - stats.nct.cdf(-critical, n - 1, shift)
            if missed <= 0.2:
                return n
        raise AssertionError("more than 1,000")

    # ---- documents

    @cached_property
    def documents(self) -> pd.DataFrame:
        """The covariance of the cells' means over the choice of documents (ratio estimator)."""
        # (runs, groups, 2): tokens and nats.
        groups = np.stack([json.loads(text) for text in self.grid.dev_by_group])
        tokens = groups[0, :, 0]
        nats = pd.DataFrame(groups[:, :, 1]).groupby(self.grid.cell.to_numpy()).mean()
        nats = nats.loc[self.losses.index]
        expected = np.outer(nats.sum(axis=1) / tokens.sum(), tokens)
        off = (nats - expected) / tokens.sum()
        count = len(tokens) / (len(tokens) - 1)
        return without_negative(count * off @ off.T - count * self._noise_of_groups(groups))

    def _noise_of_groups(self, groups: np.ndarray) -> pd.DataFrame:
        """What runs scatter differently in different groups, in the covariance of the means."""
        tokens = groups[0, :, 0]
        share = tokens / tokens.sum()
        off = groups[:, :, 1] / tokens.sum()
        off = pd.DataFrame(off - off.sum(axis=1)[:, None] * share)
        cell, seed = self.grid.cell.to_numpy(), self.grid.seed.to_numpy()
        off = off - off.groupby(cell).transform("mean") - off.groupby(seed).transform("mean")
        total = np.square(off - off.mean()).sum(axis=None)
        return total / self.df / self.n_seeds * np.eye(self.n_cells)

    @property
    def n_groups(self) -> int:
        return len(json.loads(self.grid.dev_by_group.iloc[0]))

    @property
    def documents_error(self) -> float:
        return float(np.sqrt(np.diag(self.documents).mean()))

    # ---- differences

    def compare(
        self, weights: pd.DataFrame, references: Iterable[str] = (), more: pd.Series | float = 0.0
    ) -> pd.DataFrame:
        """Contrasts (a row each, a column a cell): difference, low, high (together), p adjusted.

        `references` are the cells whose error many contrasts share, `more` is added to variances.
        """
        weights = weights[self.losses.index]
        variances = self.variances + more
        for cell in references:
            variances[cell] = self.with_shift(cell)
        runs = weights * variances / self.n_seeds @ weights.T
        of_cells = np.square(weights) * variances / self.n_seeds
        squares = np.square(of_cells).sum(axis=1) / self.df_of(1, CELL_PRIOR)
        runs_df = np.minimum(np.square(of_cells.sum(axis=1)) / squares, self.df)
        sampled = weights @ self.documents @ weights.T
        covariance = (runs + sampled).to_numpy()
        variance, parts = np.diag(covariance), (np.diag(runs), np.diag(sampled))
        df = variance**2 / (parts[0] ** 2 / runs_df + parts[1] ** 2 / (self.n_groups - 1))
        error = np.sqrt(variance)
        difference = weights @ self.losses.mean(axis=1)
        sizes = draw_sizes(covariance / np.outer(error, error), df.min())
        half = np.quantile(sizes.max(axis=1), 0.95) * error
        p = step_down((difference / error).abs().to_numpy(), sizes)
        return pd.DataFrame(
            {
                "difference": difference,
                "low": difference - half,
                "high": difference + half,
                "p": p,
            }
        )

    def unit(self, cells: list[str]) -> pd.Series:
        """The weights of the mean of some cells."""
        return pd.Series(self.losses.index.isin(cells) / len(cells), self.losses.index)

    @cached_property
    def to_baseline(self) -> pd.DataFrame:
        others = self.losses.index.drop(BASELINE)
        weights = {cell: self.unit([cell]) - self.unit([BASELINE]) for cell in others}
        return self.compare(pd.DataFrame(weights).T, [BASELINE])

    @cached_property
    def may_be_best(self) -> list[str]:
        """The cells, from the lowest on, that no other is distinguishably below, of all pairs."""
        pairs = [(low, high) for low in self.means.index for high in self.means.index if low < high]
        weights = {pair: self.unit([pair[0]]) - self.unit([pair[1]]) for pair in pairs}
        table = self.compare(pd.DataFrame(weights).T, self.losses.index)
        worse = {first for (first, _), row in table.iterrows() if row.low > 0}
        worse |= {second for (_, second), row in table.iterrows() if row.high < 0}
        return [cell for cell in self.means.index if cell not in worse]

    @cached_property
    def effects(self) -> pd.DataFrame:
        """The shares and expansions less the baseline's, each over all values of the other axis."""
        share, glu = BASELINE.split(" × ")
        weights = {}
        for level in sorted({cell.split(" × ")[0] for cell in self.means.index} - {share}):
            weights[level] = self.unit(self._of(level)) - self.unit(self._of(share))
        for level in sorted({cell.split(" × ")[1] for cell in self.means.index} - {glu}):
            weights[level] = self.unit(self._of(level)) - self.unit(self._of(glu))
        return self.compare(pd.DataFrame(weights).T, [BASELINE])

    def _of(self, level: str) -> list[str]:
        """The cells of a share (`35 %`) or of an expansion (`2.66`)."""
        return [cell for cell in self.means.index if level in cell.split(" × ")]

    @cached_property
    def interaction(self) -> pd.Series:
        """The cell farthest off the sum of its two effects."""
        weights = {}
        for cell in self.means.index:
            share, glu = cell.split(" × ")
            row, column = self.unit(self._of(share)), self.unit(self._of(glu))
            weights[cell] = self.unit([cell]) - row - column + self.unit(list(self.means.index))
        weights = pd.DataFrame(weights).T
        off = self.n_seeds * np.square(weights[self.losses.index] @ self.losses.mean(axis=1))
        most = SHIFT_ERRORS**2 * pd.Series({cell: self.sample([cell]) for cell in off.index})
        table = self.compare(weights, more=DEVIATION_WEIGHT * np.minimum(off, most))
        return table.loc[table.difference.abs().idxmax()]

    # ---- surface

    @property
    def curvatures(self) -> np.ndarray:
        """Of the quadratic in the logarithms of share and expansion: both above zero in a bowl."""
        u, v = np.log(self.grid[["embed_share", "glu"]].to_numpy()).T
        seeds = pd.get_dummies(self.grid.seed, dtype=float).to_numpy()
        design = np.column_stack([seeds, u, v, u**2, u * v, v**2])
        *_, uu, uv, vv = np.linalg.lstsq(design, self.grid.dev_loss.to_numpy(), rcond=None)[0]
        return np.linalg.eigvalsh([[2 * uu, uv], [uv, 2 * vv]])


def without_negative(covariance: pd.DataFrame) -> pd.DataFrame:
    """Without the directions in which a covariance is below zero."""
    values, vectors = np.linalg.eigh(covariance)
    positive = vectors @ np.diag(np.maximum(values, 0.0)) @ vectors.T
    return pd.DataFrame(positive, covariance.index, covariance.columns)
