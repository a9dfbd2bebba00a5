"""Measure a trained model: perplexity of both splits, SmallBench, a sample."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..config import TrainConfig
from ..data import EOT, Corpus, Progress
from ..errors import RunError, UserError
from ..model import DecoderLM, pick_device
from ..runs import MEASURED, RESULT_COLUMNS, Lease, as_json, hold, read_about, read_json
from .controls import Untrained
from .earlier import keep_earlier, read_earlier
from .finished import load_trained, open_corpus
from .generation import generate
from .inference import inference_dtype, stored_bytes
from .kept import save_arrays
from .measured import Measurement
from .perplexity import (
    convert_loss,
    mean_by_decile,
    split_losses,
    sum_by_document,
    sum_by_group,
)
from .sets import Set, load_sets
from .smallbench import run_smallbench

SCORED_SPLITS = {"valid": "dev", "test": "test"}  # a corpus' name of a split -> the columns' prefix


def measure(
    model: DecoderLM,
    config: TrainConfig,
    corpus: Corpus,
    lease: Lease,
    precision: str = "fp32",
    progress: Progress | None = None,
    earlier: Measurement | None = None,
) -> dict:
    """The measured columns of result.json; what is behind them goes into files of the run's folder.

    The files are evaluation.json and items.safetensors. All is in float32, but on a GPU the bytes
    of inference are in the `precision` of training. {"status": "diverged"} where a loss is not
    finite. If a later part fails, its reason goes to `failed` in evaluation.json and its columns
    stay empty; `earlier` is SmallBench from before, which then stays (`keep_earlier`). Speeds are
    not measured: `paramalloc time` does it, where nothing else runs.
    """
    progress = progress or _silent
    model.eval()
    measured = _measure_perplexities(model, corpus, config.seq_len, progress)
    if not all(map(math.isfinite, measured.columns.values())):
        return {"status": "diverged"}
    measured.columns |= _dev_lists(measured)
    smallbench = _attempt("smallbench", _measure_smallbench, model, config, corpus, progress)
    measured |= keep_earlier(earlier or Measurement(), smallbench)
    measured.columns |= stored_bytes(
        model, inference_dtype(next(model.parameters()).device, precision)
    )
    measured |= _attempt("sample", _write_sample, model, config, corpus)

    with lease.fenced():
        save_arrays(lease.desk / "items.safetensors", measured.arrays)
    lease.replace(lease.desk / "items.safetensors", lease.folder / "items.safetensors")
    details = {"failed": measured.failed} | measured.details
    lease.write(lease.folder / "evaluation.json", as_json(details))
    return measured.columns


def measure_again(
    folder: Path, stride: int | None = None, progress: Progress | None = None, **changes
) -> dict:
    """Measure a finished run anew, with other values of smallbench, smallbench_data or device.

    Returns its new result, which is written. With a `stride` only the perplexities with so much
    more context are computed, and nothing is written. RunError if the run is not complete, its
    corpus is gone, or a loss is not finite.
    """
    about = read_about(folder)
    result = read_json(folder / "result.json")
    if result is None or result["status"] != "completed":
        raise RunError(f"run {folder.name} is not complete: there is nothing to measure")
    parameters = about["parameters"] | {"outputs": str(folder.parents[1])} | changes
    config = TrainConfig.from_dict(parameters)
    if stride is not None and not 0 < stride <= config.seq_len:
        raise RunError(
            f"a stride of {stride} must be from 1 to the run's seq_len, {config.seq_len}"
        )
    corpus = open_corpus(folder)
    model = load_trained(folder).to(pick_device(config.device))
    if stride is not None:
        progress = progress or _silent
        return _measure_perplexities(model, corpus, config.seq_len, progress, stride).columns

    with hold(folder / "lease") as lease:
        earlier = read_earlier(folder, result)
        columns = measure(model, config, corpus, lease, about["precision"], progress, earlier)
        if "status" in columns:
            raise RunError(
                f"a loss of run {folder.name} is not finite on this machine: "
                "its result stays as it was"
            )
        result = _replace_measured(result, columns)
        lease.write(folder / "result.json", as_json(result))
    return result


def _replace_measured(result: dict, columns: dict) -> dict:
    """A result with other measured columns, in the order of result.json; its speeds stay."""
    merged = result | {name: columns.get(name) for name in MEASURED}
    return {name: merged.get(name) for name in RESULT_COLUMNS}


def _silent(stage: str, fraction: float):
    """Progress that nobody watches."""


def _attempt(name: str, part: Callable[..., Measurement], *arguments) -> Measurement:
    """Measure a part. What goes wrong is named: hours of training are not lost to a measurement."""
    try:
        return part(*arguments)
    except UserError:  # interrupted, or taken over
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(f"{name} could not be measured: {reason}")
        return Measurement(failed={name: reason})


# --------------------------------------------------------------------- parts


def _measure_perplexities(
    model: DecoderLM,
    corpus: Corpus,
    seq_len: int,
    progress: Progress,
    stride: int | None = None,
) -> Measurement:
    """Columns of dev and test (dev_loss …), losses by token frequency and by document."""
    measured = Measurement()
    counts = corpus.counts("train")
    for split, prefix in SCORED_SPLITS.items():
        told = partial(progress, f"perplexity of {prefix}")
        told(0.0)
        tokens = np.asarray(corpus.split(split))
        losses = split_losses(model, tokens, seq_len, stride, progress=told)
        loss = float(losses.mean(dtype=np.float64))
        units = convert_loss(loss, corpus.meta["splits"][split])
        measured.columns |= {f"{prefix}_{name}": value for name, value in units.items()}
        measured.details[f"{prefix}_by_frequency"] = mean_by_decile(losses, tokens, counts)
        nats, lengths = sum_by_document(losses, tokens)
        measured.arrays[f"{prefix}.document.nats"] = nats
        measured.arrays[f"{prefix}.document.tokens"] = lengths
    return measured


def _dev_lists(measured: Measurement) -> dict[str, list]:
    """The columns that hold lists: dev losses by token frequency and by group of documents."""
    rows = measured.details["dev_by_frequency"]
    nats = measured.arrays["dev.document.nats"]
    tokens = measured.arrays["dev.document.tokens"]
    return {
        "dev_by_frequency": [[row["tokens"], row["loss"]] for row in rows],
        "dev_by_group": sum_by_group(nats, tokens),
    }


def _measure_smallbench(
    model: DecoderLM, config: TrainConfig, corpus: Corpus, progress: Progress
) -> Measurement:
    if config.smallbench == "off":
        return Measurement()
    sets, missing = load_sets(config.smallbench_data)
    measured = Measurement(details={"missing": missing})
    if sets:
        measured |= _attempt("smallbench", _score_sets, model, config, corpus, sets, progress)
    return measured


def _score_sets(
    model: DecoderLM, config: TrainConfig, corpus: Corpus, sets: list[Set], progress: Progress
) -> Measurement:
    device = next(model.parameters()).device
    untrained = Untrained(model.config, config.parametrization, config.seed, device)
    summary, arrays = run_smallbench(
        model, untrained, corpus, config.seq_len, sets, config.smallbench, progress
    )
    columns = {"smallbench_size": config.smallbench, "out_of_domain": corpus.meta["wikitext"]}
    columns |= _smallbench_columns(summary["results"]["model"])
    return Measurement(columns, {"smallbench": summary}, arrays)


def _smallbench_columns(results: dict[str, dict]) -> dict[str, float]:
    """The columns of a model's results, by set."""
    columns = {}
    if "blimp" in results:
        columns["smallbench"] = results["blimp"]["smallbench"]
        columns["smallbench_se"] = results["blimp"]["se"]
        columns["blimp_accuracy"] = results["blimp"]["accuracy"]
    for name in ("lambada", "arc_easy", "piqa"):
        if name in results:
            for key in ("accuracy", "accuracy_norm", "bpb"):
                columns[f"{name}_{key}"] = results[name][key]
    columns.pop("lambada_accuracy_norm", None)  # of a single choice it says nothing new
    return columns


def _write_sample(model: DecoderLM, config: TrainConfig, corpus: Corpus) -> Measurement:
    """The beginning of a text as the model would write it, up to its end-of-text.

    It is drawn from the nucleus of 0.9 at a temperature of 0.8.
    """
    start = torch.tensor([[EOT]], device=next(model.parameters()).device)
    length = min(100, config.seq_len - 1)
    text = generate(model, start, length, temperature=0.8, top_p=0.9, seed=0)
    tokens = text[0, 1:].tolist()
    if EOT in tokens:
        tokens = tokens[: tokens.index(EOT)]
    return Measurement(details={"sample": corpus.tokenizer.decode(tokens)})
