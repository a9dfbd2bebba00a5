"""A published run, exported, judged by transformers and by the LM Evaluation Harness alone: do they find what results.csv says?

python tests/check_export.py RUN RESULTS.CSV           the dev loss and all 67 paradigms of BLiMP, about 5 minutes of two CPU cores
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
from test_smallbench import task_files
from transformers import AutoModelForCausalLM

from paramalloc.config import ROOT
from paramalloc.data import Corpus
from paramalloc.errors import UserError
from paramalloc.evaluation.sets import PHENOMENA
from paramalloc.export import export_run
from paramalloc.runs import find_run, read_json, read_results

BLIMP = ROOT.parent / "shared" / "data" / "blimp" / "blimp.jsonl.xz"
NATS, CENTRED = 1e-4, 2e-3  # SmallBench drops 7 identical pairs, which the harness finds right


@torch.inference_mode()
def dev_loss(model, stream: np.ndarray, length: int) -> float:
    """Every token scored once, in windows of `length` after one unscored end-of-text: nats per token, by transformers alone."""
    stream = torch.from_numpy(np.concatenate(([0], stream)).astype(np.int64))
    whole = (len(stream) - 1) // length * length
    windows = list(
        torch.stack(
            (stream[:whole].view(-1, length), stream[1 : whole + 1].view(-1, length)), 1
        ).split(64)
    )
    windows += [torch.stack((stream[whole:-1], stream[whole + 1 :]))[None]] * (
        whole < len(stream) - 1
    )
    losses = [
        torch.nn.functional.cross_entropy(
            model(w[:, 0]).logits.flatten(0, 1), w[:, 1].flatten(), reduction="sum"
        ).item()
        for w in windows
    ]
    return sum(losses) / (len(stream) - 1)


def blimp(folder: Path) -> float:
    """The harness' accuracy, meaned over the paradigms of each phenomenon, then over the phenomena."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    rows = pd.DataFrame([json.loads(line) for line in lzma.open(BLIMP)])
    task_files(folder, rows.to_dict("records"))
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    phenomena = rows.groupby("UID").linguistics_term.first().replace(PHENOMENA)
    found = simple_evaluate(
        model="hf",
        model_args=f"pretrained={folder / 'model'},dtype=float32",
        tasks=[f"local_{name}" for name in phenomena.index],
        task_manager=TaskManager(include_path=str(folder / "tasks")),
        device="cpu",
        batch_size=256,
        bootstrap_iters=0,
    )
    accuracy = pd.Series(
        {name: found["results"][f"local_{name}"]["acc,none"] for name in phenomena.index}
    )
    return accuracy.groupby(phenomena).mean().mean()


def main(run: str, table: str) -> None:
    source = find_run(run, ROOT / "outputs")
    rows = read_results(Path(table)).set_index("run_id")
    if source.name not in rows.index:
        sys.exit(f"{table} has no run {source.name}")
    published = rows.loc[source.name]
    config = read_json(source / "config.json")
    corpus = Corpus.open(source.parents[1] / "data" / config["provenance"]["corpus"])
    with TemporaryDirectory() as folder:
        export_run(str(source), Path(folder) / "model")
        model = AutoModelForCausalLM.from_pretrained(
            Path(folder) / "model", local_files_only=True, dtype=torch.float32
        ).eval()
        found = {"dev_loss": (dev_loss(model, corpus.split("valid"), config["seq_len"]), NATS)}
        if published.smallbench_size == "full":
            found["smallbench"] = 2 * blimp(Path(folder)) - 1, CENTRED  # centred on chance
    for name, (value, _) in found.items():
        print(
            f"{name}: published {published[name]:.5f}, by others {value:.5f}, difference {value - published[name]:+.5f}"
        )
    sys.exit(any(abs(value - published[name]) > within for name, (value, within) in found.items()))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
