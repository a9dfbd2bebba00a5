"""What the analysis reads of a run, and which runs compare with each other."""

from __future__ import annotations

import pandas as pd

from ..config import TUNING_SEED
from ..runs import COLUMNS, column_names, columns

REQUEST_COLUMNS = column_names(role="request")
SHAPE_COLUMNS = column_names(role="shape")
REALISED_COLUMNS = column_names(role="realised")
QUALITY_COLUMNS = column_names(role="quality")
MEAN_COLUMNS = [*QUALITY_COLUMNS, "train_flops"]
SPEED_COLUMNS = column_names(role="speed")
RATE_COLUMNS = column_names(role="rate")
GROUP_COLUMNS = column_names(role="same")  # runs compare where all of these agree
LABEL_COLUMNS = [*(name for name in GROUP_COLUMNS if COLUMNS[name].kind == "text"), "dataset"]
NUMBER_COLUMNS = [
    *REQUEST_COLUMNS,
    *SHAPE_COLUMNS,
    *REALISED_COLUMNS,
    *MEAN_COLUMNS,
    *SPEED_COLUMNS,
    *RATE_COLUMNS,
    "speeds_width",
    *(name for name in GROUP_COLUMNS if name not in (*LABEL_COLUMNS, *REALISED_COLUMNS)),
    "seed",
    "tokens_trained",
    "flagged_at_tokens",
    "flops_per_token",
]
OTHER_COLUMNS = [
    "early_stop",
    "compared",
    "precision",
    "speeds",
    "inference_device",
    "speeds_threads",
    "graphed",
    "status",
    "run_id",
    "created",
]
PLACE_COLUMNS = ["inference_device", "speeds_threads", "graphed"]  # speeds compare at one of these
SIZE = 0.1  # totals that lie no farther apart are one size

# Of runs from before these were recorded.
DEFAULTS = {column.name: column.before for column in columns() if column.before is not None}


def with_all_columns(runs: pd.DataFrame) -> pd.DataFrame:
    """All columns that the analysis reads, numbers as float64.

    What is null or absent is NaN, or the default of old runs. So are speeds that were not measured
    alone and where most of the comparable runs were, in a table that says so (`speeds`).
    """
    runs = runs.reset_index(drop=True)
    names = (*NUMBER_COLUMNS, *LABEL_COLUMNS, *OTHER_COLUMNS)
    runs = runs.reindex(columns=[*runs, *(name for name in names if name not in runs)])
    numbers = {name: pd.to_numeric(runs[name]).astype(float) for name in NUMBER_COLUMNS}
    return with_defaults(_with_speeds_alone(runs.assign(**numbers)))


def _with_speeds_alone(runs: pd.DataFrame) -> pd.DataFrame:
    """Without the speeds that were taken while other runs trained, or elsewhere than most.

    Older tables are as they are.
    """
    if runs.speeds.isna().all():
        return runs
    used = pd.Series(False, runs.index)
    for group in comparable_groups(runs):
        alone = group[group.speeds == "alone"]
        places = alone.groupby(PLACE_COLUMNS, dropna=False, sort=False).groups.values()
        for most in sorted(places, key=len)[-1:]:
            used[most] = True
    return runs.assign(**{name: runs[name].where(used) for name in SPEED_COLUMNS})


def lacks_speeds(runs: pd.DataFrame) -> bool:
    """Whether runs trained, and none of their speeds was measured alone yet."""
    return "speeds" in runs and runs.speeds.notna().any() and not (runs.speeds == "alone").any()


def with_defaults(runs: pd.DataFrame) -> pd.DataFrame:
    """DEFAULTS where a run did not record them."""
    columns = {
        name: runs[name].astype(object).where(runs[name].notna(), value)
        for name, value in DEFAULTS.items()
        if name in runs
    }
    return runs.assign(**columns)


def comparable_groups(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """The runs in groups whose losses compare.

    One corpus, vocabulary, embedding kind and recipe, one budget of tokens, sizes with no gap of
    SIZE between them. The group with the most completed runs on evaluation seeds comes first (then
    the longest, then the newest, then by `data_fingerprint`). Rows without a corpus or a size are
    cells that a sweep still expects: they belong to no group.
    """
    known = runs[runs.data_fingerprint.notna() & runs.total_params.notna()]
    if known.empty:
        return []
    recipe = with_defaults(known.reindex(columns=GROUP_COLUMNS))
    sizes = known.total_params.astype(float).sort_values()
    step = (sizes.pct_change() > SIZE).cumsum().reindex(known.index)
    names = sorted(GROUP_COLUMNS, key=lambda name: name != "data_fingerprint")
    keys = [*(recipe[name] for name in names), step.rename("size")]
    groups = [group for _, group in known.groupby(keys, dropna=False)]
    return sorted(groups, key=_group_rank, reverse=True)


def _group_rank(group: pd.DataFrame) -> tuple:
    completed = int((on_evaluation_seeds(group).status == "completed").sum())
    return completed, group.tokens.max(), str(group.created.max())


def similar_size(runs: pd.DataFrame, sizes: pd.Series) -> pd.DataFrame:
    """The runs whose total_params are about as large as these."""
    return runs[runs.total_params.between((1 - SIZE) * sizes.min(), (1 + SIZE) * sizes.max())]


def comparable(runs: pd.DataFrame) -> pd.DataFrame:
    """The first of the `comparable_groups`, and the rows that a sweep still expects."""
    others = [index for group in comparable_groups(runs)[1:] for index in group.index]
    return runs[~runs.index.isin(others)]


def on_evaluation_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Without the runs that only chose a learning rate."""
    return runs[~(runs.seed >= TUNING_SEED)]


def tuning_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that only choose a learning rate."""
    return runs[runs.seed >= TUNING_SEED]
