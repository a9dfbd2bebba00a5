"""Simulated runs in the form of `runs.load_runs`: enough to draw and to judge, nothing trained."""

import math

import numpy as np
import pandas as pd

from paramalloc.analysis import eligible_runs
from paramalloc.runs import as_frame
from paramalloc.runs.checking import REQUIRED

SEEDS, BASELINE_SEEDS = 3, 8  # of a cell, and of the baseline, in a simulated study
SIGMA, SIGMA_SEED = 0.004, 0.006  # nats: about what runs at 10M parameters scatter

SHARES, GLUS = (0.25, 0.35, 0.45), (2.0, 2.66, 3.0, 4.0)
UNIGRAM = 6.6
MEASURED = (
    "dev_loss",
    "dev_ppl",
    "dev_bpb",
    "test_loss",
    "test_ppl",
    "test_bpb",
    "train_flops",
    "tokens_per_s",
    "wall_s",
)


def run(share: float, glu: float, seed: int = 0, lr: float = 3e-3, **changed) -> dict:
    """One completed run of a cell at 1M parameters and vocabulary 4,096; `changed` overrides any
    column.
    """
    d = 8 * round(share * 1e6 / 4096 / 8)
    heads = {64: 1, 112: 4}.get(d, 2)
    d_ff = 8 * round(glu * d / 8)
    layers = round((1e6 - 4096 * d) / (4 * d * d + 3 * d * d_ff))
    attention, mlp, norm = layers * 4 * d * d, layers * 3 * d * d_ff, (2 * layers + 1) * d
    flops = 6 * (4096 * d + attention + mlp) + 3072 * layers * d
    total, loss = 4096 * d + attention + mlp + norm, changed.get("dev_loss")
    loss = (
        5.2 + 2 * (share - 0.36) ** 2 + 0.02 * (glu - 2.9) ** 2 + 0.003 * seed
        if loss is None
        else loss
    )
    row = {
        "run_id": f"{share}-{glu}-{seed}-{lr}",
        "status": "completed",
        "requested_share": share,
        "requested_glu": glu,
        "total_params": total,
        "embed_params": 4096 * d,
        "embed_share": 4096 * d / total,
        "glu": d_ff / d,
        "params_attention": attention,
        "params_mlp": mlp,
        "params_norm": norm,
        "d_model": d,
        "n_layers": layers,
        "n_heads": heads,
        "n_kv_heads": heads,
        "d_head": d // heads,
        "d_ff": d_ff,
        "d_embed": None,
        "vocab_size": 4096,
        "embedding": "tied",
        "mlp": "swiglu",
        "seq_len": 256,
        "batch_tokens": 2048,
        "lr": lr,
        "seed": seed,
        "tokens": 300_000,
        "tokens_trained": 300_000,
        "dev_loss": loss,
        "dev_ppl": math.exp(loss),
        "dev_bpb": loss / math.log(2) / 4.1,
        "dev_word_ppl": None,
        "test_loss": loss,
        "test_ppl": math.exp(loss),
        "test_bpb": loss / math.log(2) / 4.1,
        "smallbench": None,
        "mfu": None,
        "outside_steps_share": 0.2,
        "flops_per_token": flops,
        "train_flops": 3e5 * flops,
        "wall_s": 30.0,
        "tokens_per_s": 16_000 / (1 + layers / 20),
        "decode_ms_per_token": None,
        "peak_memory_bytes": None,
        "dataset": "builtin",
        "data_fingerprint": "f1",
        "unigram_loss": UNIGRAM,
        "profile": "quick",
        "early_stop": "off",
        "flagged_at_tokens": None,
        "precision": "float32",
        "device": "cpu",
        "threads": 2,
        "compiled": False,
        "steps": 147,
        "recipe": 1,
        "created": "2024-11-01T10:00:00",
    }
    return row | changed


def unfinished(
    share: float, glu: float, status: str, reached: float | None = None, **changed
) -> dict:
    """A run without a final loss: stopped early or diverged after `reached` tokens, failed or
    missing without any.
    """
    nothing = dict.fromkeys(MEASURED, None)
    return run(share, glu) | nothing | {"status": status, "tokens_trained": reached} | changed


def grid(*changed: dict, seeds: int = 1) -> pd.DataFrame:
    """The 12 cells; a run in `changed` replaces the runs of its cell."""
    replaced = {(row["requested_share"], row["requested_glu"]) for row in changed}
    rows = [
        run(s, g, seed)
        for s in SHARES
        for g in GLUS
        for seed in range(seeds)
        if (s, g) not in replaced
    ]
    return pd.DataFrame([*rows, *changed])


def factorized(pays: str, seeds: int = 1) -> pd.DataFrame:
    """An arm of three shares at d_model 112: "the MLP" pays (n_layers kept, no expansion requested)
    or "the depth" (at 2.66).
    """
    rows = [
        run(
            share,
            2.66,
            seed,
            embedding="factorized",
            d_model=112,
            d_embed=40 + 40 * i,
            n_layers=4 if pays == "the MLP" else 5 - i // 2,
            requested_glu=None if pays == "the MLP" else 2.66,
            run_id=f"{pays}-{share}-{seed}",
        )
        for i, share in enumerate(SHARES)
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


def ended_run() -> dict:
    """A completed run with what every table holds of one, and nothing else."""
    values = run(0.35, 2.66)
    return {name: values[name] for name in (*REQUIRED, "status", "dev_loss")}


def noisy(runs: pd.DataFrame, sigma: float = 0.003, seed: int = 0) -> pd.DataFrame:
    """The runs with noise on their dev_loss and, in proportion, on their speed."""
    noise = np.random.default_rng(seed).normal(0, sigma, (2, len(runs)))
    return runs.assign(
        dev_loss=runs.dev_loss + noise[0], tokens_per_s=runs.tokens_per_s * np.exp(noise[1])
    )


def broken_grid() -> pd.DataFrame:
    """A grid in which every way to end without a result happens, but for early stop."""
    return grid(
        unfinished(0.25, 4.0, "diverged", 180_000),
        unfinished(0.45, 2.0, "diverged", 60_000),
        unfinished(0.45, 3.0, "failed"),
        unfinished(0.45, 4.0, "missing", run_id=None, data_fingerprint=None),
    )


def screened_grid() -> pd.DataFrame:
    """A grid of which early stop killed one run: a screening."""
    killed = unfinished(0.25, 4.0, "stopped_early", 180_000)
    return grid(killed).assign(early_stop="kill")


def curves(runs: pd.DataFrame) -> pd.DataFrame:
    """Probes at 20 token counts that fall from the unigram entropy towards each run's dev_loss."""
    started = runs[runs.tokens_trained.notna() & runs.run_id.notna()]
    return pd.concat([_curve(row) for row in started.itertuples()], ignore_index=True)


def _curve(row) -> pd.DataFrame:
    end = 5.45 if pd.isna(row.dev_loss) else row.dev_loss
    tokens = np.arange(15_000, row.tokens_trained + 1, 15_000)
    loss = end + (UNIGRAM + 0.6 - end) * np.exp(-tokens / 60_000)
    return pd.DataFrame(
        {"run_id": row.run_id, "tokens": tokens, "dev_loss": loss, "dev_ppl": np.exp(loss)}
    )


def study(seeds: int = 3, baseline_seeds: int = 8) -> pd.DataFrame:
    """What a reference study measures: seeds with noise, more of them for the baseline, probes,
    losses by frequency and by documents, SmallBench, decoding, the factorized arms that keep the
    width, and the tuning run of one cell.
    """
    draw = np.random.default_rng(0)
    rows = [
        _measured(run(s, g, seed), draw)
        for s in SHARES
        for g in GLUS
        for seed in range(baseline_seeds if (s, g) == (0.35, 2.66) else seeds)
    ]
    rows += [
        _measured(
            run(
                s,
                2.66,
                seed,
                embedding="factorized",
                d_embed=64,
                requested_glu=glu,
                run_id=f"f{s}-{glu}-{seed}",
            ),
            draw,
        )
        for s in SHARES
        for glu in (None, 2.66)
        for seed in range(seeds)
    ]
    rows.append(_measured(run(0.35, 3.0, 1000, lr=6e-3), draw))
    return as_frame(rows)


def _measured(row: dict, draw) -> dict:
    """A completed run with all that a full measurement adds."""
    loss = row["dev_loss"] + 0.004 * draw.standard_normal()
    tokens = [*range(15_000, 300_000, 15_000), 300_000]
    curve = [[t, loss + (UNIGRAM + 0.6 - loss) * math.exp(-t / 60_000)] for t in tokens[:-1]] + [
        [300_000, loss]
    ]
    rare = [
        [4_000, loss + 0.9 * (d - 5.5) + 0.02 * (d - 5.5) * (0.35 - row["requested_share"])]
        for d in range(1, 11)
    ]
    groups = [
        [1_250, 1_250 * (loss + 0.02 * math.sin(7 * n) + 0.001 * draw.standard_normal())]
        for n in range(32)
    ]
    speed = math.exp(0.02 * draw.standard_normal())
    return row | {
        "dev_loss": loss,
        "dev_ppl": math.exp(loss),
        "dev_bpb": loss / math.log(2) / 4.1,
        "dev_curve": curve,
        "dev_by_frequency": rare,
        "dev_by_group": groups,
        "smallbench": 0.12 - 0.03 * (loss - 5.2) + 0.004 * draw.standard_normal(),
        "smallbench_se": 0.004,
        "smallbench_size": "full",
        "tokens_per_s": row["tokens_per_s"] * speed,
        "kv_bytes_per_token": 8 * row["d_model"] * row["n_layers"],
        "decode_ms_per_token": (0.4 + 0.11 * row["n_layers"]) / speed,
        "parametrization": "standard",
        "optimizer": "adamw",
        "embed_lr": None,
        "warmup": 0.05,
        "weight_decay": 0.1,
    }


def design() -> pd.DataFrame:
    """The eligible runs of a simulated study: 12 cells of three seeds, the baseline of eight."""
    more = [run(0.35, 2.66, seed) for seed in range(SEEDS, BASELINE_SEEDS)]
    return eligible_runs(pd.concat([grid(seeds=SEEDS), pd.DataFrame(more)], ignore_index=True))


def draw_losses(
    runs: pd.DataFrame, truth, generator: np.random.Generator, sigma_seed: float = SIGMA_SEED
) -> pd.DataFrame:
    """The runs of a design with losses truth + seed + run."""
    seeds = generator.normal(0, sigma_seed, BASELINE_SEEDS)
    noise = generator.normal(0, SIGMA, len(runs))
    return runs.assign(dev_loss=truth + seeds[runs.seed.astype(int)] + noise)


def timed_grid(seeds: int = 2) -> pd.DataFrame:
    """A grid whose loss prefers a share of 37 % at 2.9; it decodes in 0.2 ms, 0.1 more a layer."""
    runs = grid(seeds=seeds)
    share = np.log(runs.embed_share.astype(float) / 0.37)
    glu = np.log(runs.glu.astype(float) / 2.9)
    runs = runs.assign(
        dev_loss=5 + 0.5 * share**2 + 0.1 * glu**2,
        decode_ms_per_token=0.2 + 0.1 * runs.n_layers,
    )
    return noisy(runs, 0.001)


def empty() -> pd.DataFrame:
    """What a fresh clone has: all columns, no row."""
    return grid().head(0)
