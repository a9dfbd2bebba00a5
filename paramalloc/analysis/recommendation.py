"""The shape for a budget: the lowest loss of the fitted surface among the shapes that exist and meet the constraints."""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from ..allocation import (
    Allocation,
    Request,
    best_shapes,
    check_request,
    count_parameters,
    flops_per_token,
)
from ..config import TrainConfig, convert, load_profile, profiles
from ..errors import UserError
from .groups import SIZE, comparable_groups, typed
from .power import LEVEL
from .selection import BASELINE, eligible_runs
from .surface import AXES, Surface, fit_surface, mesh

SIDE = 17  # of the grid of requests, shares x expansions
BEYOND = 0.5  # of the data's range, on the log scale, is searched at each end where nothing within it meets the constraints
NEAR = 1.02  # shapes are coarse: a realised share or expansion that far outside of the data's range is still within
NO_RESULTS = "no finished runs to recommend from: train a grid first, `paramalloc sweep grid`, or name a results.csv with --runs"


@dataclass(frozen=True)
class Recommendation:
    """A shape with what is predicted for it. `versus_baseline` (35 % x 2.66 at the same budget) and `versus_best` (the best shape
    without the constraints) are (difference, low, high) in nats per token, 95 %, negative is better. `alike`: the ranges of realised
    embed_share and glu whose predicted loss is not told apart from it, None for an axis that the runs did not vary. `decode_ms` is
    None where no run measured it. All intervals are those at the runs' own scale: where `distance` names something they do not
    hold, no interval is known."""

    shape: Allocation
    versus_baseline: tuple[float, float, float] | None
    versus_best: tuple[float, float, float]
    alike: dict
    decode_ms: float | None
    decode_error: float | None
    flops_per_token: int
    rests_on: str
    distance: tuple[str, ...]
    command: str

    def rows(self) -> list[tuple[str, str]]:
        """(what, text), the order in which it is read."""
        ms = (
            None
            if self.decode_ms is None
            else f"{self.decode_ms:.2f} ms per token (a fit of the runs' times, give or take {self.decode_error:.2f}: measure it where a limit matters)"
        )
        far, scale = bool(self.distance), " at the runs' own scale" if self.distance else ""
        lines = [
            (
                "beside 35 % × 2.66",
                said(self.versus_baseline, far) if self.versus_baseline else None,
            ),
            (
                "without limits",
                said(self.versus_best, far) if abs(self.versus_best[0]) > 1e-9 else None,
            ),
            ("cannot be told from", ranges(self.alike) + scale),
            (
                "not compared",
                ", ".join(
                    f"{AXES[name]}: the runs hold one"
                    for name, ends in self.alike.items()
                    if not ends
                ),
            ),
            ("decoding", ms),
            ("training", f"{self.flops_per_token / 1e6:.1f} MFLOPs per token"),
            ("rests on", self.rests_on),
            (
                "extrapolates",
                "; ".join(self.distance)
                + ": no run tells how far the prediction is off there, nor whether lr, embed_lr and "
                "batch_tokens, which are those of the runs, suit it"
                if far
                else "nothing",
            ),
            ("train it", self.command),
        ]
        return [*self.shape.rows(), *((what, text) for what, text in lines if text)]

    def __str__(self) -> str:
        return "\n".join(f"{what:20}{text}" for what, text in self.rows())

    def details(self) -> dict:
        """For JSON: the fields, the shape with its ledger. Ends of intervals that are not known beyond the data are null."""
        known = lambda found: (found[0], None, None) if found and self.distance else found
        names = [name for name in self.__dataclass_fields__ if name != "shape"]
        shape = {"model": asdict(self.shape.model), "params": dict(self.shape.params)}
        return (
            shape
            | {"embed_share": self.shape.embed_share, "glu": self.shape.glu}
            | {name: getattr(self, name) for name in names}
            | {name: known(getattr(self, name)) for name in ("versus_baseline", "versus_best")}
        )


def said(difference: tuple[float, float, float], far: bool = False) -> str:
    """`0.013 nats per token lower (95 %: 0.002 lower to 0.024 lower)`; beyond the data (`far`) whose interval that is."""
    words = [f"{abs(value):.3f} {'lower' if value < 0 else 'higher'}" for value in difference]
    scale = "how sure is not known beyond the data; at the runs' own scale 95 %" if far else "95 %"
    return f"{words[0].replace(' ', ' nats per token ')} ({scale}: {words[1]} to {words[2]})"


def ranges(alike: dict) -> str:
    """`shares of 30 to 40 %, GLU 2.00 to 3.00`, without an axis that was not varied."""
    show = {
        "embed_share": lambda low, high: f"shares of {100 * low:.0f} to {100 * high:.0f} %",
        "glu": "GLU {:.2f} to {:.2f}".format,
    }
    return ", ".join(show[name](*ends) for name, ends in alike.items() if ends)


def recommend(
    runs: pd.DataFrame,
    total_params: int,
    vocab_size: int,
    max_ms: float | None = None,
    max_flops: float | None = None,
) -> Recommendation:
    """For `total_params` and `vocab_size`, at most `max_ms` per decoded token and `max_flops` training FLOPs per token: the shape
    with the lowest loss that the surface of the `nearest` group of runs predicts; shares and expansions outside of its range only
    where nothing within meets the constraints. Raises UserError without results, for a budget that TrainConfig refuses, or where
    nothing meets the constraints."""
    total_params, vocab_size = (
        convert(TrainConfig.__dataclass_fields__[name], value)
        for name, value in (("total_params", total_params), ("vocab_size", vocab_size))
    )
    runs = typed(runs)
    claimed, fitted = nearest(runs, total_params, vocab_size)
    decode = decode_model(runs)
    if max_ms is not None and decode is None:
        raise UserError(
            "no run measured decode_ms_per_token, so max_ms cannot be judged: `paramalloc evaluate RUN` measures it"
        )
    for wider in (0.0, BEYOND):
        free = candidates(claimed, fitted, total_params, vocab_size, decode, wider)
        affordable = (free.flops <= (max_flops or math.inf)) & (
            (free.decode_ms <= max_ms) if max_ms else True
        )
        if affordable.any():
            return described(
                free, free[affordable], claimed, fitted, decode, total_params, vocab_size
            )
    raise UserError(impossible(free, total_params, vocab_size))


def nearest(runs: pd.DataFrame, total_params: int, vocab_size: int) -> tuple[pd.DataFrame, Surface]:
    """The claims and the surface of the group of runs that answers. One that varied both axes comes first, as another says nothing of
    the axis it held; then the nearest in size and vocabulary; of equally near ones that with more tokens, then with more runs."""
    found = [claimed for group in comparable_groups(runs) if len(claimed := eligible_runs(group))]
    if not found:
        raise UserError(NO_RESULTS)
    fits = [(claimed, fitted) for claimed in found if (fitted := fit_surface(claimed))]
    if not fits:
        raise UserError(
            f"{max(part.cell.nunique() for part in found)} completed cells are too few for a response surface of share and "
            "GLU: train a grid first, `paramalloc sweep grid`"
        )
    order = pd.DataFrame(
        [
            (
                -len(fitted.axes),
                away(claimed, total_params, vocab_size),
                -claimed.tokens.median(),
                -len(claimed),
            )
            for claimed, fitted in fits
        ],
        columns=["axes", "away", "tokens", "runs"],
    )
    order["away"] = (
        order.away.sort_values().diff() > math.log(1 + SIZE)
    ).cumsum()  # sizes that only rounding sets apart share a step
    return fits[order.sort_values(list(order)).index[0]]


def away(claimed: pd.DataFrame, total_params: int, vocab_size: int) -> float:
    """How far the runs are in size and vocabulary, as a logarithm."""
    return abs(math.log(claimed.total_params.median() / total_params)) + abs(
        math.log(claimed.vocab_size.median() / vocab_size)
    )


def candidates(
    claimed: pd.DataFrame,
    fitted: Surface,
    total_params: int,
    vocab_size: int,
    decode,
    wider: float = 0.0,
) -> pd.DataFrame:
    """The shapes that requests over the data's range get: shape, embed_share, glu (realised), dev_loss, decode_ms, flops."""
    first, seen, fitting = claimed.iloc[0], {}, fineness(claimed, total_params)
    for share, glu in mesh(fitted.ranges, SIDE, wider).itertuples(index=False):
        shape = possible(total_params, share, glu, vocab_size, first, **fitting)
        if shape and shape.model not in seen:
            seen[shape.model] = (shape, share, glu)
    rows = [
        {
            "shape": shape,
            "asked_share": share,
            "asked_glu": glu,
            "embed_share": shape.embed_share,
            "glu": shape.glu,
            "decode_ms": decode(shape.model) if decode else math.nan,
            "flops": flops_per_token(shape.model, int(first.seq_len))["train"],
        }
        for shape, share, glu in seen.values()
    ]
    found = pd.DataFrame(
        rows,
        columns=["shape", "asked_share", "asked_glu", "embed_share", "glu", "decode_ms", "flops"],
    )
    inside = [
        found[name].between(low / NEAR, high * NEAR) for name, (low, high) in fitted.ranges.items()
    ]
    return fitted.predict(found if wider else found[inside[0] & inside[1]])


def profile_of(claimed: pd.DataFrame) -> dict:
    """The sizes of the profile that trained most of the runs; of one that is no more, none."""
    names = claimed.profile.dropna() if "profile" in claimed else pd.Series(dtype=str)
    name = next(iter(names.mode()), None)
    return load_profile(name)[1] if name in profiles() else {}


def fineness(claimed: pd.DataFrame, total_params: int) -> dict:
    """multiple and tolerance: the profile's of the runs, so that what they trained can be recommended. Widths grow as the root of
    the budget, and the multiple with them, in powers of two and up to 64, the widest head."""
    sizes = {"multiple": 8, "tolerance": 0.005} | profile_of(claimed)
    wider = math.sqrt(total_params / claimed.total_params.median())
    return {
        "multiple": min(64, sizes["multiple"] * 2 ** max(0, int(math.log2(wider)))),
        "tolerance": sizes["tolerance"],
    }


def possible(
    total_params: int, share: float, glu: float, vocab_size: int, like: pd.Series, **fitting
) -> Allocation | None:
    """The shape of a request with the kind of embedding and MLP of the runs, or None where none fits."""
    request = Request(
        total_params,
        round(share, 4),
        round(glu, 3),
        vocab_size,
        like.embedding,
        mlp=like.mlp,
        **fitting,
    )
    # Not `allocate`: of hundreds of requests nobody reads what would fit instead.
    models = best_shapes(check_request(request), 1)
    if not models:
        return None
    [model] = models
    return Allocation(model, count_parameters(model), request.embed_share, request.glu)


def decode_model(runs: pd.DataFrame):
    """ModelConfig -> milliseconds to decode a token: a + b n_layers + c total_params with none below zero (Lawson & Hanson 1974),
    fitted on the completed runs of the inference device that most were measured on. `error` is its residual. None with
    fewer than 4 such runs."""
    known = runs[(runs.status == "completed") & (runs.decode_ms_per_token > 0)]
    if "inference_device" in known and known.inference_device.notna().any():
        known = known[known.inference_device == known.inference_device.mode()[0]]
    if len(known) < 4:
        return None
    sizes = (
        np.ptp(np.log(known.total_params)) > 0.2
    )  # of one size: what it costs cannot be told from the constant
    terms = lambda n_layers, total: np.stack(
        [np.ones_like(n_layers), n_layers / 10, total / 1e7 * sizes], axis=-1
    )
    weights, rest = nnls(
        terms(known.n_layers.to_numpy(), known.total_params.to_numpy()),
        known.decode_ms_per_token.to_numpy(),
    )
    predict = lambda model: float(
        terms(np.array(float(model.n_layers)), count_parameters(model)["total"]) @ weights
    )
    predict.error = rest / math.sqrt(len(known) - 3)
    return predict


def impossible(wide: pd.DataFrame, total_params: int, vocab_size: int) -> str:
    what = f"no shape of {total_params:,} parameters with vocab_size {vocab_size:,}"
    if wide.empty:
        return f"{what} lies near the shares and expansions of the runs: change total_params or vocab_size"
    ms = "" if wide.decode_ms.isna().all() else f" {wide.decode_ms.min():.2f} ms per token and"
    return f"{what} meets these constraints: the least that any takes is{ms} {wide.flops.min():.3g} FLOPs per token"


def described(
    free: pd.DataFrame,
    found: pd.DataFrame,
    claimed: pd.DataFrame,
    fitted: Surface,
    decode,
    total_params: int,
    vocab_size: int,
) -> Recommendation:
    """The best of `found`, beside the best of `free` and the baseline at the same budget."""
    best, first = (rows.loc[[rows.dev_loss.idxmin()]] for rows in (found, free))
    row, shape = best.iloc[0], best["shape"].iloc[0]
    fitting = fineness(claimed, total_params)
    base = possible(total_params, *BASELINE, vocab_size, claimed.iloc[0], **fitting)
    beside = lambda other: tuple(
        float(fitted.predict(best, other)[name].iloc[0]) for name in ("difference", "low", "high")
    )
    alike = fitted.predict(found, best)[lambda rows: rows.low <= 0]
    request = {
        "total_params": total_params,
        "vocab_size": vocab_size,
        "embed_share": round(row.asked_share, 4),
        "glu": round(row.asked_glu, 3),
        "embedding": shape.model.embedding,
        "mlp": shape.model.mlp,
    } | fitting
    return Recommendation(
        shape,
        beside(pd.DataFrame([{"embed_share": base.embed_share, "glu": base.glu}]))
        if base
        else None,
        beside(first),
        {
            name: (float(alike[name].min()), float(alike[name].max()))
            if name in fitted.axes
            else None
            for name in fitted.ranges
        },
        float(row.decode_ms) if decode else None,
        decode.error if decode else None,
        int(row.flops),
        support(claimed, fitted),
        tuple(distances(claimed, fitted, shape, total_params, vocab_size)),
        training_command(
            request, int(claimed.seq_len.iloc[0]), "recommended", recipe(claimed, total_params)
        ),
    )


def support(claimed: pd.DataFrame, fitted: Surface) -> str:
    """What the prediction rests on."""
    size, cells = claimed.total_params.median(), claimed.cell.nunique()
    seeds = f"{fitted.n_seeds} seed{'s' * (fitted.n_seeds > 1)} ({', '.join(f'{seed:.0f}' for seed in sorted(claimed.seed.unique()))})"
    text = (
        f"{len(claimed)} runs of {cells} cells on {seeds} at {size / 1e6:.3g}M parameters, vocabulary "
        f"{claimed.vocab_size.median():,.0f}, {claimed.tokens.median():,.0f} training tokens ({claimed.tokens.median() / size:.2g} a "
        f"parameter) of {', '.join(sorted(claimed.dataset.dropna().unique()))}; surface residual {fitted.sigma:.3f} nats"
    )
    if fitted.lack_of_fit_p < LEVEL:
        text += (
            ": a quadratic does not describe these cells, and what it says between them is a guess"
        )
    return text + (
        ""
        if fitted.n_seeds > 1
        else "; one seed: the intervals come from that residual, not from repeated runs"
    )


def distances(
    claimed: pd.DataFrame, fitted: Surface, shape: Allocation, total_params: int, vocab_size: int
):
    """What the recommendation extrapolates, in words: the size, the vocabulary, the share, the expansion."""
    for what, asked, measured in (
        ("parameters", total_params, claimed.total_params),
        ("vocabulary", vocab_size, claimed.vocab_size),
    ):
        ratio = asked / measured.median()
        if not 0.9 < ratio < 1.1:
            yield f"{what} {ratio:.3g} times those of the runs"
    for name, (low, high) in fitted.ranges.items():
        what, value = {"embed_share": "share", "glu": "GLU"}[name], getattr(shape, name)
        if not low / NEAR <= value <= high * NEAR:
            yield f"{what} {value:.3g} outside of {low:.3g} to {high:.3g}"


def recipe(claimed: pd.DataFrame, total_params: int) -> dict:
    """How the runs were trained, for a model of `total_params`: as many tokens a parameter, in whole steps; their learning rate, which
    under standard falls with the root of the size as TrainConfig has it. What is TrainConfig's own default is left out."""
    first, ratio = claimed.iloc[0], total_params / claimed.total_params.median()
    ratio = 1 if 0.9 < ratio < 1.1 else ratio
    batch, rate = (
        int(first.batch_tokens),
        claimed.lr.median() / (math.sqrt(ratio) if first.parametrization == "standard" else 1),
    )
    found = {
        "profile": first.get("profile"),
        "dataset": first.dataset,
        "tokens": max(1, round(first.tokens * ratio / batch)) * batch,
        "batch_tokens": batch,
        "parametrization": first.parametrization,
        "optimizer": first.optimizer,
        "lr": float(f"{rate:.3g}"),
        "embed_lr": first.embed_lr,
        "warmup": first.warmup,
        "weight_decay": first.weight_decay,
    }
    default = {name: spec.default for name, spec in TrainConfig.__dataclass_fields__.items()}
    known = {
        name: value for name, value in found.items() if pd.notna(value) and value != default[name]
    }
    return {
        name: value for name, value in known.items() if name != "profile" or value in profiles()
    }


def training_command(
    request: dict, seq_len: int, name: str = "explored", recipe: dict | None = None
) -> str:
    """The papermill command that trains exactly this shape, whatever the profile; without a recipe, a batch that all profiles take."""
    batches = {load_profile(profile)[1]["batch_tokens"] for profile in profiles()}
    whole = (
        {"batch_tokens": max(1, min(batches) // seq_len) * seq_len}
        if any(batch % seq_len for batch in batches)
        else {}
    )
    given = request | {
        "multiple": request.get("multiple", 8),
        "tolerance": request.get("tolerance", 0.005),
        "seq_len": seq_len,
    }
    given |= whole | (recipe or {})
    shown = {
        name: f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in given.items()
    }
    words = [word for pair in shown.items() for word in ("-p", *pair)]
    return shlex.join(
        ["papermill", "notebooks/train.ipynb", f"outputs/notebooks/{name}.ipynb", *words]
    )
