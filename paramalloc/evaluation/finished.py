"""What a finished run left behind: its corpus, its model, and its measurements for reading."""

from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from ..config import ModelConfig
from ..data import Corpus
from ..errors import RunError
from ..model import DecoderLM
from ..runs import Note, final_weights, read_about, read_json
from .smallbench import tabulate


def open_corpus(folder: Path) -> Corpus:
    """The text that the run in `folder` was trained on; RunError if it is gone, or has changed."""
    about = read_about(folder)
    path = folder.parents[1] / "data" / about["provenance"]["corpus"]
    if not (path / "meta.json").exists():
        raise RunError(f"the corpus of run {folder.name} is gone: {path} (prepare it again)")
    corpus = Corpus.open(path)
    if corpus.fingerprint != about["data_fingerprint"]:
        raise RunError(f"{path} is not the text that run {folder.name} was trained on")
    return corpus


def load_trained(folder: Path) -> DecoderLM:
    """The model of a run with its final weights, on the CPU; RunError if there are none, or if
    they are damaged."""
    about = read_about(folder)
    weights = final_weights(folder)
    if weights is None:
        raise RunError(f"run {folder.name} has no final weights in {folder / 'checkpoint'}")
    try:
        model = DecoderLM(ModelConfig.from_record(about))
        model.load_state_dict(load_file(weights))
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise RunError(f"{folder / 'config.json'} is damaged: it is not of these weights") from None
    return model.eval()


def read_smallbench(folder: Path) -> pd.DataFrame | Note:
    """SmallBench of a run and of its controls, a row per measure; or why there is none."""
    details = read_json(folder / "evaluation.json") or {}
    if "smallbench" in details:
        return tabulate(details["smallbench"])
    reasons = details.get("missing", {}) | details.get("failed", {})
    lines = [f"- {name}: {reason}" for name, reason in reasons.items()]
    first = "SmallBench was not measured. `paramalloc evaluate` adds it to a completed run."
    return Note("\n".join([first, "", *lines]))


def read_sample(folder: Path) -> str:
    """The beginning of a text, as the run's model writes it; empty where none was kept."""
    details = read_json(folder / "evaluation.json") or {}
    return details.get("sample", "")
