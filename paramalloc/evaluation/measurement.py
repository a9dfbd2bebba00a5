"""What is measured of a trained model: perplexity of both splits, SmallBench beside its controls, inference cost, a sample."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from ..config import ModelConfig, TrainConfig
from ..data import EOT, Corpus
from ..errors import RunError, UserError
from ..model import DecoderLM, device_name, pick_device
from ..runs import MEASURED, RESULT_COLUMNS, Lease, Note, as_json, hold, read_json
from .generation import generate
from .inference import inference_cost
from .perplexity import by_document, by_frequency, by_group, scores, split_losses
from .sets import load_sets
from .smallbench import overview, run_smallbench, save_arrays

SPLITS = {"valid": "dev", "test": "test"}


def silent(stage: str, fraction: float):
    """Progress that nobody watches."""


def measure(
    model: DecoderLM,
    config: TrainConfig,
    corpus: Corpus,
    lease: Lease,
    precision: str = "fp32",
    progress=None,
) -> dict:
    """The measured columns of result.json; evaluation.json and items.safetensors in the run's folder hold what is behind
    them. All in float32, but inference on a GPU in the precision of training. {"status": "diverged"} where a loss is not
    finite. What else goes wrong after the perplexities is named under "failed" and leaves its columns empty."""
    report, details, arrays = progress or silent, {"failed": {}}, {}
    model.eval()
    result = perplexities(model, corpus, config.seq_len, details, arrays, report)
    if not all(map(math.isfinite, result.values())):
        return {"status": "diverged"}
    result["dev_by_frequency"] = [
        [row["tokens"], row["loss"]] for row in details["dev_by_frequency"]
    ]
    result["dev_by_group"] = by_group(arrays["dev.document.nats"], arrays["dev.document.tokens"])
    parts = {
        "smallbench": lambda: benchmark(model, config, corpus, details, arrays, report),
        "inference": lambda: inference(model, config, precision, details, report),
        "sample": lambda: details.update(sample=sample(model, corpus, config.seq_len)) or {},
    }
    for name, part in parts.items():
        try:
            result |= part()
        except UserError:  # interrupted, or taken over
            raise
        except Exception as error:  # hours of training are not lost to a measurement
            details["failed"][name] = (
                f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            )
            print(f"{name} could not be measured: {details['failed'][name]}")
    with lease.fenced():
        save_arrays(lease.desk / "items.safetensors", arrays)
    lease.replace(lease.desk / "items.safetensors", lease.folder / "items.safetensors")
    lease.write(lease.folder / "evaluation.json", as_json(details))
    return result


def inference(model: DecoderLM, config: TrainConfig, precision: str, details: dict, report) -> dict:
    """The cost on the CPU, always in float32 (it decodes faster there: 8.5 against 9.1 ms at 10M), and on the GPU where the
    model is on one; the columns are those of the device where the model is."""
    device = next(model.parameters()).device
    places = {"cpu": torch.float32}
    if device.type != "cpu":
        places[device_name(device)] = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(
            precision, torch.float32
        )
    details["inference"] = {"threads": torch.get_num_threads()}
    for name, dtype in places.items():
        report(f"inference cost, {name}", 0.0)
        details["inference"][name] = inference_cost(
            model, config.seq_len, dtype, torch.device("cpu") if name == "cpu" else device
        )
    return details["inference"][name] | {"inference_device": name}


def measure_again(folder: Path, stride: int | None = None, progress=None, **changes) -> dict:
    """Measure a finished run anew, with other values of smallbench, smallbench_data or device; its result, as kept.

    With a `stride` only the perplexities with so much more context are computed, and nothing is kept.
    """
    kept, result = read_json(folder / "config.json"), read_json(folder / "result.json")
    if result is None or result["status"] != "completed":
        raise RunError(f"run {folder.name} is not complete: there is nothing to measure")
    config = TrainConfig.from_dict(
        kept["parameters"] | {"outputs": str(folder.parents[1])} | changes
    )
    if stride is not None and not 0 < stride <= config.seq_len:
        raise RunError(
            f"a stride of {stride} must be from 1 to the run's seq_len, {config.seq_len}"
        )
    corpus, model = corpus_of(folder, kept), trained(folder).to(pick_device(config.device))
    if stride is not None:
        return perplexities(model, corpus, config.seq_len, {}, {}, progress or silent, stride)
    with hold(folder / "lease") as lease:
        found = measure(model, config, corpus, lease, kept["precision"], progress)
        if "status" in found:
            raise RunError(
                f"a loss of run {folder.name} is not finite on this machine: its result stays as it was"
            )
        result = {
            name: found.get(name) if name in MEASURED else result.get(name)
            for name in RESULT_COLUMNS
        }
        lease.write(folder / "result.json", as_json(result))
    return result


def corpus_of(folder: Path, kept: dict) -> Corpus:
    """The text that a run was trained on; RunError if it is not there any more, or has changed."""
    path = folder.parents[1] / "data" / kept["provenance"]["corpus"]
    if not (path / "meta.json").exists():
        raise RunError(f"the corpus of run {folder.name} is gone: {path} (prepare it again)")
    corpus = Corpus.open(path)
    if corpus.fingerprint != kept["data_fingerprint"]:
        raise RunError(f"{path} is not the text that run {folder.name} was trained on")
    return corpus


def trained(folder: Path) -> DecoderLM:
    """The model of a run with its final weights, on the CPU."""
    kept, weights = (
        read_json(folder / "config.json"),
        folder / "checkpoint" / "final" / "model.safetensors",
    )
    if not weights.exists():
        raise RunError(f"run {folder.name} has no final weights: {weights}")
    model = DecoderLM(ModelConfig.from_record(kept))
    model.load_state_dict(load_file(weights))
    return model.eval()


def smallbench_of(folder: Path) -> pd.DataFrame | Note:
    """SmallBench of a run beside its controls, or why there is none."""
    found = read_json(folder / "evaluation.json") or {}
    if "smallbench" in found:
        return overview(found["smallbench"])
    reasons = found.get("missing", {}) | found.get("failed", {})
    lines = [f"- {name}: {what}" for name, what in reasons.items()]
    return Note(
        "\n".join(
            [
                "SmallBench was not measured. `paramalloc evaluate` adds it to a completed run.",
                "",
                *lines,
            ]
        )
    )


def written_by(folder: Path) -> str:
    """The beginning of a text, as the run's model writes it."""
    return (read_json(folder / "evaluation.json") or {}).get("sample", "")


def perplexities(
    model: DecoderLM,
    corpus: Corpus,
    seq_len: int,
    details: dict,
    arrays: dict,
    report,
    stride: int | None = None,
) -> dict:
    """Columns of dev and test (dev_loss …); losses by token frequency go into `details`, nats and tokens of each document
    into `arrays`."""
    result, counts = {}, corpus.counts("train")
    for split, prefix in SPLITS.items():
        report(f"perplexity of {prefix}", 0.0)
        tokens = np.asarray(corpus.split(split))
        losses = split_losses(model, tokens, seq_len, stride)
        found = scores(float(losses.mean(dtype=np.float64)), corpus.meta["splits"][split])
        result |= {f"{prefix}_{name}": value for name, value in found.items()}
        details[f"{prefix}_by_frequency"] = by_frequency(losses, tokens, counts)
        arrays[f"{prefix}.document.nats"], arrays[f"{prefix}.document.tokens"] = by_document(
            losses, tokens
        )
    return result


def benchmark(
    model: DecoderLM, config: TrainConfig, corpus: Corpus, details: dict, arrays: dict, report
) -> dict:
    """SmallBench's columns; what is behind them is put into `details` and `arrays`."""
    if config.smallbench == "off":
        return {}
    sets, details["missing"] = load_sets(config.smallbench_data)
    if not sets:
        return {}
    torch.manual_seed(config.seed)
    untrained = DecoderLM(model.config, config.parametrization).to(next(model.parameters()).device)
    details["smallbench"], items = run_smallbench(
        model, untrained, corpus, config.seq_len, sets, config.smallbench, report
    )
    arrays |= items
    found = details["smallbench"]["results"]["model"]
    columns = {"smallbench_size": config.smallbench, "out_of_domain": corpus.meta["wikitext"]}
    if "blimp" in found:
        columns |= {
            "smallbench": found["blimp"]["smallbench"],
            "smallbench_se": found["blimp"]["se"],
            "blimp_accuracy": found["blimp"]["accuracy"],
        }
    return columns | {
        f"{name}_{key}": found[name][key]
        for name in ("lambada", "arc_easy", "piqa")
        if name in found
        for key in ("accuracy", "accuracy_norm", "bpb")
        if (name, key) != ("lambada", "accuracy_norm")
    }


def sample(model: DecoderLM, corpus: Corpus, seq_len: int, seed: int = 0) -> str:
    """The beginning of a text as the model would write it: drawn from the nucleus of 0.9, up to its end-of-text."""
    start = torch.tensor([[EOT]], device=next(model.parameters()).device)
    tokens = generate(model, start, min(100, seq_len - 1), temperature=0.8, top_p=0.9, seed=seed)[
        0, 1:
    ].tolist()
    return corpus.tokenizer.decode(tokens[: tokens.index(EOT)] if EOT in tokens else tokens)
