"""What README.md and the folders' pages say of the published tables, in outputs/reference/."""

import textwrap

import pandas as pd

from ..allocation import allocation, flops_per_token
from ..analysis import (
    Noise,
    by_chance,
    common_rate,
    eligible_runs,
    estimate_noise,
    main_effects,
    moves,
    rate_check,
    reach_verdict,
)
from ..analysis.wording import join_words
from ..config import ROOT
from ..plots import short_count
from ..runs import read_results
from ..sweep import load_sweep
from .confounds import confound
from .rates import name_union
from .summary import scale

PUBLISHED = {
    "": "the reference grid, and `lr_check` at a fifth of its tokens",
    "quick": "what `make` trains: it shows the tool, it answers nothing",
    "spot_check": "three shares at the study's size, with a twenty-fifth of its tokens",
    "transfer": "the best learning rate of each shape, for `notebooks/transfer`",
    "wikitext-2": "three shares on another corpus, with its own tokenizer",
}

LITTLE = 0.25  # of an effect: what is less explains little of it
SECONDS = 505  # that an H200 took for the twelve runs of one seed, six at a time (LOG.md)


def read_published(folder: str = "") -> pd.DataFrame:
    """The rows of outputs/reference/<folder>/results.csv."""
    return read_results(ROOT / "outputs" / "reference" / folder / "results.csv")


def paragraph(*sentences: str) -> str:
    """The sentences as one paragraph, in lines of at most 100 columns; `35 %` stays on one line."""
    text = " ".join(sentence for sentence in sentences if sentence)
    joined = text.replace(" %", "\N{NO-BREAK SPACE}%")
    lines = textwrap.fill(joined, 100, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def markdown_table(header: list[str], rows: list[list]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def answer() -> str:
    """The reference grid's main effects, what confounds them, the best cell, and the scale."""
    runs = read_published()
    verdict = reach_verdict(runs)
    best = verdict.sentences[0]
    claim, *others = verdict.meaning
    cells = eligible_runs(runs).cell.nunique()
    noise = f"{len(verdict.close)} of {cells} cells may be the best at this noise."
    return "\n\n".join(
        [
            paragraph(f"**{claim}**", *others, _confound(runs)),
            paragraph(best, noise, str(scale(runs))),
        ]
    )


def _confound(runs: pd.DataFrame) -> str:
    """What confounds the one claim, with a link to the limits; empty where nothing is known to."""
    sentence = confound(runs)
    if not sentence:
        return ""
    return f"{sentence.removesuffix('.')} ([limits](outputs/reference/RESULTS.md#limits))."


def larger_study() -> str:
    """What the study at its own size takes: FLOPs by the ledger, minutes by one measured sweep."""
    cells = load_sweep("reference", profile="study").cells
    runs = [run for cell in cells for run in cell.config.runs()]
    flops = 0
    for run in runs:
        flops += run.tokens * flops_per_token(allocation(run).model, run.seq_len)["train"]
    minutes = len(runs) / 12 * SECONDS / 60
    size = (
        f"{short_count(runs[0].total_params)} parameters and {short_count(runs[0].tokens)} tokens"
    )
    checked = read_published("spot_check")
    lowest = checked.requested_share[checked.dev_loss.idxmin()]
    missing = paragraph(
        f"The study itself, at {size}, is not done: it needs a GPU, and the rows of a first",
        "attempt were lost ([log](outputs/reference/LOG.md)). Single runs at",
        f"{short_count(runs[0].total_params)} parameters, there",
        "and in [spot_check](outputs/reference/spot_check/RESULTS.md), are lowest at",
        f"{lowest:.0%}; one seed claims nothing.".replace("%", " %"),
        f"Its grid is {len(runs)} runs, {flops / 1e15:.0f} PFLOP, about {minutes:.0f} minutes on",
        "an H200:",
    )
    command = "paramalloc sweep reference --profile study --dataset YOUR_TEXT --jobs 6 --yes"
    return f"{missing}\n\n```\n{command}\n```"


def transfer_rates() -> str:
    """How far the best learning rate moves with width and depth."""
    moved = moves(read_published("transfer"), base=(96, 8))
    octaves = moved.set_index(["embed_lr", "parametrization", "axis"]).octaves.abs().sort_index()
    width, depth = octaves[3, "completep"][["width", "depth"]]
    standard_width, standard_depth = octaves[3, "standard"][["width", "depth"]]
    fast_width, fast_depth = octaves[10, "completep"][["width", "depth"]]
    return paragraph(
        f"Under `completep` the best rate moves by {width:.1f} octaves (doublings) from width 48",
        f"to 192 and by {depth:.1f} from depth 2 to 32. Under `standard` it moves by at least",
        f"{standard_width:.1f} and {standard_depth:.1f}. These are single runs of 204,800 tokens",
        "at vocabulary 1,024 ([rows](../outputs/reference/transfer/results.csv)). Where the tables",
        "learn ten instead of three times as fast, the best rate under `completep` moves by",
        f"{fast_width:.1f} and {fast_depth:.1f} octaves.",
    )


def own_rates() -> str:
    """What each cell of the reference grid would gain from a learning rate of its own."""
    runs = read_published()
    check = rate_check(runs)
    shares = check.groupby("requested_share").gain.mean()
    rate = eligible_runs(runs).lr.iloc[0]
    between = shares.max() - shares.min()
    effects = main_effects(runs)
    effect = effects.difference[effects.axis == "requested_share"].abs().max()
    return paragraph(
        f"The published grid trains all cells at {rate:g}. `lr_check` tried at least",
        f"{check.tried.map(len).min()} rates for each cell, with",
        f"{short_count(check.tokens.iloc[0])} tokens and seed {name_union(check.seeds)}.",
        f"A cell's best rate gains {check.gain.mean():.3f} nats, averaged over {len(check)} cells;",
        f"{_what_one_rate_gains(check, estimate_noise(runs))}. The averages of the three shares",
        f"differ by at most {between:.3f}.",
        f"{explain_effect(between, effect)} ([report](../outputs/reference/RESULTS.md)).",
    )


def _what_one_rate_gains(check: pd.DataFrame, noise: Noise) -> str:
    """How much of the gain one other rate for all cells has, or else chance; no full stop."""
    common = common_rate(check)
    if common and common.is_better:
        return f"one rate for all, {common.best_lr:g}, would gain {-common.difference:.3f}"
    return f"{by_chance(check, noise.sigma)[0]:.3f} would be chance"


def explain_effect(between: float, effect: float) -> str:
    """How much of the shares' effect the rate may explain, without a full stop.

    `between` is the difference of what a rate of their own gains the shares, in nats as `effect`.

    >>> explain_effect(0.01, 0.1)
    'So at that budget the rate explains little of the 0.100 nats between shares'
    >>> explain_effect(0.03, 0.1)
    'The shares themselves differ by up to 0.100 nats'
    """
    if between < LITTLE * effect:
        return f"So at that budget the rate explains little of the {effect:.3f} nats between shares"
    return f"The shares themselves differ by up to {effect:.3f} nats"


def published_tables() -> str:
    """The published tables: where each is, what it holds, and at which scale."""
    columns = ["table", "what", "runs", "parameters", "vocabulary", "training tokens", "seeds"]
    return markdown_table(columns, [_published_table(folder) for folder in PUBLISHED])


def reference_rows() -> str:
    """Which rows of the first table the grid is, and what the others are."""
    runs = read_published()
    grid = eligible_runs(runs)
    seeds = join_words(f"{seed:g}" for seed in sorted(grid.seed.unique()))
    return paragraph(
        f"The reference grid is the {len(grid)} rows of {short_count(grid.tokens.iloc[0])} tokens",
        f"and seeds {seeds}. The other {len(runs) - len(grid)} ask whether its learning rate was",
        "fair.",
    )


def _published_table(folder: str) -> list:
    runs = read_published(folder)
    name = folder or "results.csv"
    [vocab_size] = runs.vocab_size.unique()
    tokens = [short_count(count) for count in sorted(runs.tokens.unique())]
    seeds = [str(seed) for seed in sorted(runs.seed.unique())]
    return [
        f"[`{name}`](reference/{name})",
        PUBLISHED[folder],
        len(runs),
        short_count(runs.total_params.median()),
        f"{vocab_size:,}",
        ", ".join(tokens),
        ", ".join(seeds),
    ]


def three_shares() -> str:
    """Dev loss of three shares at one expansion, where each has a single seed."""
    rows = []
    for folder in ("wikitext-2", "spot_check"):
        runs = read_published(folder).sort_values("requested_share")
        size = short_count(round(runs.total_params.median(), -6))
        losses = [f"{loss:.3f}" for loss in runs.dev_loss]
        rows.append([f"`{folder}`", size, short_count(runs.tokens.iloc[0]), *losses])
    return markdown_table(["table", "parameters", "training tokens", "25 %", "35 %", "45 %"], rows)


def quick_speeds() -> str:
    """How fast the cells of the published quick grid trained."""
    runs = read_published("quick").sort_values("tokens_per_s")
    slow, fast = runs.iloc[0], runs.iloc[-1]
    return paragraph(
        f"In the published quick grid the slowest cell ({slow.n_layers:.0f} layers) trains",
        f"{slow.tokens_per_s:,.0f} tokens/s on one core, the fastest ({fast.n_layers:.0f} layers)",
        f"{fast.tokens_per_s:,.0f} ([rows](../outputs/reference/quick/results.csv)).",
    )
