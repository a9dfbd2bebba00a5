"""A published run, exported, judged by transformers and the LM Evaluation Harness alone.

    python tests/checks/check_export.py RUN path/to/results.csv

Do they find what results.csv says? The dev loss and all 67 paradigms of BLiMP take about 5 minutes
of two CPU cores. Exit status 1 where a number differs by more than its tolerance.
"""

import json
import lzma
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from paramalloc.config import ROOT
from paramalloc.data import Corpus
from paramalloc.errors import UserError
from paramalloc.evaluation.sets import PHENOMENA
from paramalloc.export import export_run
from paramalloc.runs import find_run, read_json, read_results

sys.path.append(str(Path(__file__).parents[1]))  # tests/, which a script does not search
from blimp_tasks import task_files

BLIMP = ROOT.parent / "shared" / "data" / "blimp" / "blimp.jsonl.xz"
LOSS_TOLERANCE = 1e-4  # nats per token
# SmallBench drops 7 identical pairs, which the harness counts as right.
SMALLBENCH_TOLERANCE = 2e-3


@torch.inference_mode()
def dev_loss(model, tokens: np.ndarray, seq_len: int) -> float:
    """Nats per token by transformers alone, every token scored once.

    The tokens are read in windows of `seq_len` after one unscored end-of-text token (id 0).
    """
    stream = torch.from_numpy(np.concatenate(([0], tokens)).astype(np.int64))
    full = (len(stream) - 1) // seq_len * seq_len
    inputs = stream[:full].view(-1, seq_len).split(64)
    targets = stream[1 : full + 1].view(-1, seq_len).split(64)
    batches = list(zip(inputs, targets, strict=True))
    if full < len(stream) - 1:  # the last window is shorter
        batches.append((stream[None, full:-1], stream[None, full + 1 :]))
    total = 0.0
    for x, y in batches:
        logits = model(x).logits
        total += F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").item()
    return total / (len(stream) - 1)


def blimp_accuracy(model: Path, folder: Path) -> float:
    """The harness' accuracy, averaged over the paradigms of each phenomenon, then over these.

    `folder` is for its task files and its cache.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    with lzma.open(BLIMP) as file:
        rows = pd.DataFrame([json.loads(line) for line in file])
    task_files(folder, rows.to_dict("records"))
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    phenomena = rows.groupby("UID").linguistics_term.first().replace(PHENOMENA)
    results = simple_evaluate(
        model="hf",
        model_args=f"pretrained={model},dtype=float32",
        tasks=[f"local_{name}" for name in phenomena.index],
        task_manager=TaskManager(include_path=str(folder / "tasks")),
        device="cpu",
        batch_size=256,
        bootstrap_iters=0,
    )["results"]
    accuracy = {name: results[f"local_{name}"]["acc,none"] for name in phenomena.index}
    return pd.Series(accuracy).groupby(phenomena).mean().mean()


def main(run: str, table: str) -> int:
    source = find_run(run, ROOT / "outputs")
    rows = read_results(Path(table)).set_index("run_id")
    if source.name not in rows.index:
        raise UserError(f"{table} has no run {source.name}")
    published = rows.loc[source.name]
    config = read_json(source / "config.json")
    corpus = Corpus.open(source.parents[1] / "data" / config["provenance"]["corpus"])

    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        exported = export_run(str(source), folder / "model")
        model = AutoModelForCausalLM.from_pretrained(
            exported, local_files_only=True, dtype=torch.float32
        ).eval()
        loss = dev_loss(model, corpus.split("valid"), config["seq_len"])
        agree = compare("dev_loss", published.dev_loss, loss, LOSS_TOLERANCE)
        if published.smallbench_size == "full":
            centred = 2 * blimp_accuracy(exported, folder) - 1  # chance is 0
            agree &= compare("smallbench", published.smallbench, centred, SMALLBENCH_TOLERANCE)
    return 0 if agree else 1


def compare(name: str, published: float, independent: float, tolerance: float) -> bool:
    """Print both numbers; whether they agree."""
    difference = independent - published
    print(
        f"{name}: published {published:.5f}, independently {independent:.5f}, "
        f"difference {difference:+.5f}"
    )
    return abs(difference) <= tolerance


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except UserError as error:
        sys.exit(str(error))
