"""What is said of a run: the columns of result.json, and what makes one run another."""

import os
import platform
import subprocess
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version

from ..allocation import Allocation, flops_per_token
from ..config import ROOT, ModelConfig, TrainConfig

RECIPE = 3  # raise it when the same parameters train differently

# Not part of what a run is: where and how fast it is computed, where it is kept, when it is cut short, what is measured.
OUTSIDE = {
    "device",
    "compile",
    "outputs",
    "profile",
    "early_stop",
    "stop_margin",
    "stop_patience",
    "stop_grace",
    "baseline_share",
    "baseline_glu",
    "baseline_lr",
    "checkpoint_seconds",
    "smallbench",
    "smallbench_data",
}

# What is measured of a trained model (measure.py); `paramalloc evaluate` measures it again.
MEASURED = [
    "dev_loss",
    "dev_ppl",
    "dev_bpb",
    "dev_word_ppl",
    "test_loss",
    "test_ppl",
    "test_bpb",
    "test_word_ppl",
    "smallbench",
    "smallbench_se",
    "smallbench_size",
    "blimp_accuracy",
    "lambada_accuracy",
    "lambada_bpb",
    "arc_easy_accuracy",
    "arc_easy_accuracy_norm",
    "arc_easy_bpb",
    "piqa_accuracy",
    "piqa_accuracy_norm",
    "piqa_bpb",
    "decode_ms_per_token",
    "decode_ms_per_token_32",
    "time_to_first_token_ms",
    "prefill_tokens_per_s",
    "kv_bytes_per_token",
    "weight_bytes",
    "inference_memory_bytes",
    "inference_device",
    "out_of_domain",
    "dev_by_frequency",
    "dev_by_group",
]

RESULT_COLUMNS = [
    "run_id",
    "status",
    "requested_share",
    "requested_glu",
    "total_params",
    "embed_params",
    "embed_share",
    "glu",
    "d_model",
    "n_layers",
    "n_heads",
    "n_kv_heads",
    "d_head",
    "d_ff",
    "d_embed",
    "mlp",
    "vocab_size",
    "embedding",
    "seq_len",
    "batch_tokens",
    "parametrization",
    "optimizer",
    "lr",
    "embed_lr",
    "warmup",
    "weight_decay",
    "grad_clip",
    "seed",
    "tokens",
    "tokens_trained",
    "dev_curve",
    *MEASURED,
    "flops_per_token",
    "train_flops",
    "tokens_per_s",
    "mfu",
    "outside_steps_share",
    "peak_memory_bytes",
    "wall_s",
    "dataset",
    "data_fingerprint",
    "unigram_loss",
    "early_stop",
    "flagged_at_tokens",
    "steps",
    "precision",
    "device",
    "threads",
    "compiled",
    "profile",
    "recipe",
    "params_attention",
    "params_mlp",
    "params_norm",
    "created",
    "commit",
    "torch",
]

# In results.csv lists are JSON text; and what is text stays text, however much an id of hex digits looks like a number.
LIST_COLUMNS = ["dev_curve", "dev_by_frequency", "dev_by_group"]
TEXT_COLUMNS = [
    "run_id",
    "status",
    "mlp",
    "embedding",
    "parametrization",
    "optimizer",
    "smallbench_size",
    "inference_device",
    "dataset",
    "data_fingerprint",
    "precision",
    "device",
    "profile",
    "early_stop",
    "created",
    "commit",
    "torch",
]

SHAPE = tuple(ModelConfig.__dataclass_fields__)  # what of a run's config.json makes its model

METRIC_COLUMNS = ["step", "tokens", "train_loss", "dev_loss", "dev_ppl", "tokens_per_s"]


def describe_run(run_id: str, config: TrainConfig, shape: Allocation, corpus) -> dict:
    """The columns of a result that are known before training."""
    recipe = (
        "seq_len",
        "batch_tokens",
        "parametrization",
        "optimizer",
        "lr",
        "embed_lr",
        "warmup",
        "weight_decay",
        "grad_clip",
        "seed",
        "tokens",
        "dataset",
        "profile",
    )
    model = asdict(shape.model)
    return (
        {name: getattr(config, name) for name in recipe}
        | model
        | {
            "run_id": run_id,
            "requested_share": shape.requested_share,
            "requested_glu": shape.requested_glu,
            "total_params": shape.params["total"],
            "embed_params": shape.params["embedding"] + shape.params["head"],
            "params_attention": shape.params["attention"],
            "params_mlp": shape.params["mlp"],
            "params_norm": shape.params["norm"],
            "embed_share": shape.embed_share,
            "glu": shape.glu,
            "flops_per_token": flops_per_token(shape.model, config.seq_len)["train"],
            "data_fingerprint": corpus.fingerprint,
            "unigram_loss": corpus.unigram_entropy("valid"),
            "recipe": RECIPE,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": current_commit(),
            "torch": version("torch"),
        }
    )


def describe_provenance(corpus) -> dict:
    """Versions, machine and commit: what a reader needs to train this again."""
    return {
        "python": platform.python_version(),
        "versions": {
            name: version(name) for name in ("paramalloc", "torch", "tokenizers", "numpy")
        },
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "commit": current_commit(),
        "corpus": corpus.folder.name,
    }


def current_commit() -> str | None:
    """The commit of this checkout, marked where files differ from it; None outside of git. No lock is taken: of a process that
    is killed it would stay in the user's repository."""
    git = ["git", "--no-optional-locks", "-C", str(ROOT)]
    ask = lambda *words: subprocess.run(
        [*git, *words], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        return ask("rev-parse", "--short=12", "HEAD") + "-dirty" * bool(
            ask("status", "--porcelain", "--untracked-files=no")
        )
    except (OSError, subprocess.CalledProcessError):
        return None
