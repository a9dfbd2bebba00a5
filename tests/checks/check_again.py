"""A published run, trained again from its row alone: the same losses, bit for bit on a CPU of the same kind.

    python tests/check_again.py RUN_ID path/to/results.csv

Takes as long as the run did. On another kind of CPU other roundings give another run of the same kind: the difference is printed, and
held to 0.03 nats per token. Exit status 1 where it is larger. For runs of a profile's size, which a row names by its request alone. To round as
the CPUs with AVX2 alone that trained the published grid, one with AVX-512 needs
ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from paramalloc.config import ROOT, load_profile
from paramalloc.errors import UserError
from paramalloc.model import pick_device, pick_precision
from paramalloc.runs import read_json, read_results

NEAR = 0.03  # nats per token
NAMES = [
    "profile",
    "dataset",
    "vocab_size",
    "embedding",
    "mlp",
    "parametrization",
    "optimizer",
    "tokens",
    "seq_len",
    "batch_tokens",
    "lr",
    "embed_lr",
    "warmup",
    "weight_decay",
    "grad_clip",
    "seed",
]


def parameters(run: pd.Series) -> dict:
    """What papermill is told: the request that the row records, and nothing else. The total is the profile's, of which the row has the realised;
    a precision that would be this machine's own choice is not said, since saying it makes another run id."""
    asked = {"embed_share": run.requested_share, "glu": run.requested_glu} | {
        name: run[name] for name in NAMES
    }
    asked |= (
        {"precision": run.precision}
        if run.precision != pick_precision("auto", pick_device("auto"))
        else {}
    )
    return {name: value for name, value in asked.items() if pd.notna(value)}


def main(run_id: str, table: str) -> int:
    rows = read_results(Path(table)).set_index("run_id")
    if run_id not in rows.index:
        sys.exit(f"{table} has no run {run_id}")
    run = rows.loc[run_id]
    size = load_profile(run.profile)[1]["total_params"]
    if pd.isna(run.requested_share) or abs(run.total_params / size - 1) > 0.02:
        sys.exit(
            f"{run_id} has a shape or size of its own ({run.total_params:,.0f} parameters; profile {run.profile}: {size:,}), which its row does not "
            "record as it was asked: train it by its sweep"
        )
    with tempfile.TemporaryDirectory() as outputs:
        given = parameters(run) | {"smallbench": "off", "early_stop": "off", "outputs": outputs}
        words = [str(word) for name, value in given.items() for word in ("-p", name, value)]
        threads = (
            {"OMP_NUM_THREADS": f"{run.threads:.0f}"} if pd.notna(run.threads) else {}
        )  # another number rounds otherwise
        subprocess.run(
            [
                sys.executable,
                "-m",
                "papermill",
                "notebooks/train.ipynb",
                f"{outputs}/again.ipynb",
                *words,
            ],
            cwd=ROOT,
            check=True,
            env=os.environ | threads,
        )
        [again] = [read_json(path) for path in Path(outputs).glob("runs/*/result.json")]
    apart = {name: abs(again[name] - run[name]) for name in ("dev_loss", "test_loss")}
    for name, value in apart.items():
        print(f"{name}: published {float(run[name])}, again {again[name]}, {value:.2g} apart")
    print(
        f"published in {run.precision} on {run.device}, again in {again['precision']} on {again['device']}"
    )
    return int(max(apart.values()) > NEAR)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except UserError as error:
        sys.exit(str(error))
