"""A published run, trained again from its row alone: the same losses, bit for bit on a CPU of the same kind.

    python tests/check_again.py RUN_ID path/to/results.csv

Takes as long as the run did. On another kind of CPU other roundings give another run of the same kind: the difference is printed, and
held to 0.03 nats per token. Exit status 1 where it is larger. A CPU with AVX-512 is one with AVX2 alone, as trained the published grid, under
ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from paramalloc.config import ROOT
from paramalloc.device import pick_device, pick_precision
from paramalloc.runs import read_json, read_results

NEAR = 0.03  # nats per token
NAMES = ["profile", "dataset", "vocab_size", "embedding", "mlp", "parametrization", "optimizer", "tokens", "seq_len", "batch_tokens",
         "lr", "embed_lr", "warmup", "weight_decay", "grad_clip", "seed"]


def parameters(run: pd.Series) -> dict:
    """What papermill is told: the request that the row records, and nothing else. The total is the profile's, of which the row has the realised;
    a precision that would be this machine's own choice is not said, since saying it makes another run id."""
    asked = {"embed_share": run.requested_share, "glu": run.requested_glu} | {name: run[name] for name in NAMES}
    asked |= {"precision": run.precision} if run.precision != pick_precision("auto", pick_device("auto")) else {}
    return {name: value for name, value in asked.items() if pd.notna(value)}


def main(run_id: str, table: str) -> int:
    run = read_results(Path(table)).set_index("run_id").loc[run_id]
    with tempfile.TemporaryDirectory() as outputs:
        given = parameters(run) | {"smallbench": "off", "early_stop": "off", "outputs": outputs}
        words = [str(word) for name, value in given.items() for word in ("-p", name, value)]
        threads = {"OMP_NUM_THREADS": f"{run.threads:.0f}"} if pd.notna(run.threads) else {}  # another number rounds otherwise
        subprocess.run([sys.executable, "-m", "papermill", "notebooks/train.ipynb", f"{outputs}/again.ipynb", *words], cwd=ROOT, check=True,
                       env=os.environ | threads)
        [again] = [read_json(path) for path in Path(outputs).glob("runs/*/result.json")]
    apart = {name: abs(again[name] - run[name]) for name in ("dev_loss", "test_loss")}
    for name, value in apart.items():
        print(f"{name}: published {run[name]!r}, again {again[name]!r}, {value:.2g} apart")
    print(f"published in {run.precision} on {run.device}, again in {again['precision']} on {again['device']}; run id {'the same' if again['run_id'] == run_id else again['run_id']}")
    return int(max(apart.values()) > NEAR)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
