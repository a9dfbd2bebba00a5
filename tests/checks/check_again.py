"""A published run, trained again from its row alone: the same losses, bit for bit on a like CPU.

    python tests/checks/check_again.py RUN_ID path/to/results.csv

It takes as long as the run did. It is for runs of a profile's size, which a row describes by its
request alone. The difference is printed. Exit status 1 where it exceeds 0.03 nats per token: on
another kind of CPU other roundings give another run of the same kind.

CPUs with AVX2 alone trained the published grid. To round like them, a CPU with AVX-512 needs
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
from paramalloc.runs import column_names, read_json, read_results

TOLERANCE = 0.03  # nats per token


def request_of(run: pd.Series) -> dict:
    """The parameters that the row records as requested, and nothing else.

    Left out are the total, which is the profile's (the row has the realised one), and a precision
    that this machine would choose by itself: to name it would make another run id.
    """
    request = {"embed_share": run.requested_share, "glu": run.requested_glu}
    request |= {name: run[name] for name in column_names(role="recorded")}
    if run.precision != pick_precision("auto", pick_device("auto")):
        request["precision"] = run.precision
    return {name: value for name, value in request.items() if pd.notna(value)}


def train_again(run: pd.Series, outputs: Path) -> dict:
    """The result of the run, trained by papermill in `outputs`."""
    parameters = request_of(run)
    parameters |= {"smallbench": "off", "early_stop": "off", "outputs": outputs}
    options = []
    for name, value in parameters.items():
        options += ["-p", name, str(value)]
    environment = dict(os.environ)
    if pd.notna(run.threads):  # another number of threads rounds otherwise
        environment["OMP_NUM_THREADS"] = f"{run.threads:.0f}"
    papermill = [sys.executable, "-m", "papermill", "notebooks/train.ipynb"]
    subprocess.run(
        [*papermill, str(outputs / "again.ipynb"), *options], cwd=ROOT, check=True, env=environment
    )
    [result] = outputs.glob("runs/*/result.json")
    return read_json(result)


def main(run_id: str, table: str) -> int:
    rows = read_results(Path(table)).set_index("run_id")
    if run_id not in rows.index:
        raise UserError(f"{table} has no run {run_id}")
    run = rows.loc[run_id]
    size = load_profile(run.profile)[1]["total_params"]
    if pd.isna(run.requested_share) or abs(run.total_params / size - 1) > 0.02:
        raise UserError(
            f"{run_id} has a shape or size of its own ({run.total_params:,.0f} parameters; profile "
            f"{run.profile}: {size:,}). Its row does not record the request: train it by its sweep"
        )
    with tempfile.TemporaryDirectory() as outputs:
        again = train_again(run, Path(outputs))

    largest = 0.0
    for name in ("dev_loss", "test_loss"):
        difference = abs(again[name] - run[name])
        largest = max(largest, difference)
        print(
            f"{name}: published {float(run[name])}, again {again[name]}, difference "
            f"{difference:.2g}"
        )
    print(f"published in {run.precision} on {run.device}")
    print(f"again in {again['precision']} on {again['device']}")
    return int(largest > TOLERANCE)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except UserError as error:
        sys.exit(str(error))
