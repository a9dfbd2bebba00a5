"""What the analysis reads of a run, and which runs compare with each other."""

from __future__ import annotations

import pandas as pd

from ..config import TUNING_SEED

REQUEST_COLUMNS = ["requested_share", "requested_glu"]
SHAPE_COLUMNS = ["d_model", "n_layers", "d_ff", "n_heads", "d_head", "d_embed"]
COUNTS = ["total_params", "embed_params", "params_attention", "params_mlp", "params_norm"]
REALISED = ["embed_share", "glu", *COUNTS, "tokens", "unigram_loss", "kv_bytes_per_token"]
TEXT_COLUMNS = ["embedding", "mlp", "parametrization", "optimizer", "dataset", "data_fingerprint"]
QUALITY_COLUMNS = [
    "dev_loss",
    "dev_ppl",
    "dev_bpb",
    "smallbench",
]  # what a seed moves in all cells alike
MEANS = [*QUALITY_COLUMNS, "train_flops"]
SPEEDS = ["tokens_per_s", "decode_ms_per_token"]
RATES = ["lr", "embed_lr"]  # chosen per cell
NUMBERS = [
    *REQUEST_COLUMNS,
    *SHAPE_COLUMNS,
    *REALISED,
    *MEANS,
    *SPEEDS,
    *RATES,
    "seed",
    "tokens_trained",
    "flagged_at_tokens",
    "flops_per_token",
    "vocab_size",
    "seq_len",
    "batch_tokens",
    "warmup",
    "weight_decay",
    "grad_clip",
    "recipe",
]

SIZE = 0.1  # totals that lie no farther apart are one size
GROUP_COLUMNS = [
    "data_fingerprint",
    "vocab_size",
    "embedding",
    "mlp",
    "parametrization",
    "optimizer",
    "warmup",
    "weight_decay",
    "grad_clip",
    "tokens",
    "seq_len",
    "batch_tokens",
    "recipe",
]
DEFAULTS = {
    "mlp": "swiglu",
    "parametrization": "standard",
    "optimizer": "adamw",
    "grad_clip": 1.0,
}  # of runs from before these were recorded


def typed(runs: pd.DataFrame) -> pd.DataFrame:
    """All columns that the analysis reads, numbers as float64: what is null or not there at all is NaN (or a default of old runs)."""
    runs = runs.reset_index(drop=True)
    absent = [
        name
        for name in (
            *NUMBERS,
            *TEXT_COLUMNS,
            "early_stop",
            "precision",
            "status",
            "run_id",
            "created",
        )
        if name not in runs
    ]
    runs = runs.reindex(columns=[*runs, *absent])
    numbers = {name: pd.to_numeric(runs[name]).astype(float) for name in NUMBERS}
    return with_defaults(runs.assign(**numbers))


def with_defaults(runs: pd.DataFrame) -> pd.DataFrame:
    """DEFAULTS where a run did not record them."""
    return runs.assign(
        **{
            name: runs[name].astype(object).where(runs[name].notna(), value)
            for name, value in DEFAULTS.items()
        }
    )


def comparable_groups(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """The runs in groups whose losses may stand side by side: one corpus, vocabulary, embedding kind and recipe, one budget of
    tokens, sizes with no gap of SIZE between them. The group with the most completed runs on claim seeds comes first (then
    the longest, then the newest).

    Rows without a corpus or a size are cells that a sweep still expects: they belong to no group.
    """
    known = runs[runs.data_fingerprint.notna() & runs.total_params.notna()]
    if known.empty:
        return []
    same = with_defaults(known.reindex(columns=GROUP_COLUMNS))
    size = (
        (known.total_params.astype(float).sort_values().pct_change() > SIZE)
        .cumsum()
        .reindex(known.index)
    )
    found = [
        group
        for _, group in known.groupby(
            [*(same[name] for name in GROUP_COLUMNS), size.rename("size")], dropna=False
        )
    ]
    done = lambda group: int((on_evaluation_seeds(group).status == "completed").sum())
    return sorted(
        found,
        key=lambda group: (done(group), group.tokens.max(), str(group.created.max())),
        reverse=True,
    )


def of_size(runs: pd.DataFrame, sizes: pd.Series) -> pd.DataFrame:
    """The runs whose total_params are about as large as these."""
    return runs[runs.total_params.between((1 - SIZE) * sizes.min(), (1 + SIZE) * sizes.max())]


def comparable(runs: pd.DataFrame) -> pd.DataFrame:
    """The largest of the `groups`, and the rows that a sweep still expects: they carry no loss, so they stay."""
    found = comparable_groups(runs)
    others = [index for group in found[1:] for index in group.index]
    return runs[~runs.index.isin(others)]


def on_evaluation_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Without the runs that only chose a learning rate."""
    return runs[~(runs.seed >= TUNING_SEED)]
