"""SmallBench of a trained run: its columns, its controls, and a tool from elsewhere that agrees."""

import json
import lzma
import shutil

import numpy as np
import pandas as pd
import pytest
from blimp_tasks import task_files
from safetensors.numpy import load_file

from paramalloc.cli import main
from paramalloc.config import TrainConfig
from paramalloc.evaluation import read_smallbench
from paramalloc.evaluation.estimates import headline
from paramalloc.evaluation.finished import load_trained
from paramalloc.evaluation.likelihood import log_likelihoods
from paramalloc.evaluation.scoring import as_outcomes, encode
from paramalloc.evaluation.sets import Set, load_sets
from paramalloc.evaluation.trees import plant
from paramalloc.export import export_run
from paramalloc.runs import Run, read_json
from paramalloc.training import train


@pytest.fixture(scope="module")
def measured(tiny, tiny_corpus, small_sets):
    """A tiny run on small talk, long windows, measured with the small sets: (folder, result,
    evaluation.json).
    """
    outputs = tiny_corpus.folder.parents[1]
    config = TrainConfig.from_dict(
        tiny
        | {
            "outputs": str(outputs),
            "seq_len": 128,
            "tokens": 81_920,
            "smallbench": "full",
            "smallbench_data": str(small_sets),
            "lr": 1e-2,
        }
    )
    [result] = train(config, tiny_corpus)
    folder = Run(config, tiny_corpus.fingerprint).folder
    return folder, result, read_json(folder / "evaluation.json")


def test_a_trained_model_knows_more_than_its_controls(measured):
    """It lies more than three paired standard errors above its untrained self and the unigram
    model, on agreement.
    """
    _, result, found = measured
    assert (
        result["smallbench"] == found["smallbench"]["results"]["model"]["blimp"]["smallbench"] > 0.5
    )
    assert all(
        found["smallbench"]["above"][name]["smallbench"]
        > 3 * found["smallbench"]["above"][name]["se"]
        > 0
        for name in ("untrained", "unigram")
    )
    assert set(found["smallbench"]["results"]) == {"model", "untrained", "unigram", "5-gram"}
    unigram = found["smallbench"]["results"]["unigram"]["blimp"]["paradigms"]
    assert (
        unigram["order"]["accuracy"]
        < found["smallbench"]["results"]["model"]["blimp"]["paradigms"]["order"]["accuracy"]
    )


def test_every_column_of_smallbench_is_filled(measured):
    """From all four sets, and none is kept from the set with identical sentences."""
    _, result, found = measured
    names = [
        "blimp_accuracy",
        "lambada_accuracy",
        "lambada_bpb",
        "arc_easy_accuracy",
        "arc_easy_accuracy_norm",
        "arc_easy_bpb",
        "piqa_accuracy",
        "piqa_accuracy_norm",
        "piqa_bpb",
    ]
    assert all(result[name] is not None for name in names) and result["smallbench_size"] == "full"
    assert found["smallbench"]["sets"]["blimp"]["items"] == 240 and found["missing"] == {}
    assert (
        found["smallbench"]["results"]["model"]["arc_easy"]["chance"] == 0.25
        and result["lambada_accuracy"] > 0.05
    )


def test_the_overview_shows_every_result_beside_its_controls(measured):
    """One column for the model and for each control, and how far above it the model is, by the
    paired difference.
    """
    table, found = read_smallbench(measured[0]), measured[2]["smallbench"]
    assert list(table.columns) == [
        "this model",
        "untrained",
        "unigram",
        "5-gram",
        "chance",
    ] and not table.isna().any(axis=None)
    above = found["above"]["untrained"]
    assert (
        table.loc["difference of this model to the control", "untrained"]
        == f"{above['smallbench']:+.3f} ± {above['se']:.3f}"
    )
    assert (
        table.loc["arc_easy, accuracy", "chance"] == "25.0%"
        and table.loc["lambada, accuracy", "unigram"] == "—"
    )


def test_items_are_kept_for_paired_comparisons(measured, tiny_corpus):
    """One outcome for each pair, one loss for each document; they give the published numbers."""
    folder, result, found = measured
    kept = load_file(folder / "items.safetensors")
    sets_, _ = load_sets(read_json(folder / "config.json")["parameters"]["smallbench_data"])
    groups = pd.Series([item.group for item in sets_[0].items])
    assert headline(kept["model.blimp.correct"], groups)["smallbench"] == pytest.approx(
        result["smallbench"]
    )
    dev = kept["dev.document.nats"].sum() / kept["dev.document.tokens"].sum()
    assert (
        dev == pytest.approx(result["dev_loss"])
        and len(kept["test.document.nats"]) == tiny_corpus.meta["splits"]["test"]["documents"]
    )
    rows = found["dev_by_frequency"]
    assert sum(row["tokens"] * (row["loss"] or 0) for row in rows) / sum(
        row["tokens"] for row in rows
    ) == pytest.approx(result["dev_loss"])


def test_a_finished_run_is_measured_again(measured, small_sets, tmp_path, capsys):
    """`paramalloc evaluate` gives the same numbers; a stride gives more context, and nothing is
    written.
    """
    folder, result, _ = measured
    assert (
        main(
            ["evaluate", str(folder), "--smallbench", "full", "--smallbench-data", str(small_sets)]
        )
        == 0
    )
    again = read_json(folder / "result.json")
    assert again == result
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--stride", "16"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["dev_loss"] < result["dev_loss"] and read_json(folder / "result.json") == again
    assert main(["evaluate", "nosuchrun"]) == 2


@pytest.mark.parametrize(
    "how, said",
    [
        ("off", "stays as measured before: it has arc_easy, blimp, lambada, piqa"),
        ("no sets", "blimp: put blimp/*.jsonl into"),
        ("one set", "stays as measured before: it has arc_easy, lambada, piqa"),
        ("damaged set", "stays as measured before: it has blimp"),
    ],
)
def test_smallbench_outlasts_an_evaluation_without_it(
    measured, small_sets, tmp_path, capsys, how, said
):
    """Turned off, without the sets, with one of them or with one that cannot be read: the result,
    its details and its items stay as they were, and why is said.
    """
    folder, result, found = measured
    items = load_file(folder / "items.safetensors")
    option = ["--smallbench", "off"]
    if how != "off":
        option = ["--smallbench", "quick", "--smallbench-data", str(tmp_path)]
    if how == "one set":
        shutil.copytree(small_sets / "blimp", tmp_path / "blimp")
    if how == "damaged set":
        shutil.copytree(small_sets, tmp_path, dirs_exist_ok=True)
        next((tmp_path / "blimp").iterdir()).write_text("{")

    assert main(["evaluate", str(folder), *option]) == 0
    assert said in capsys.readouterr().err
    assert read_json(folder / "result.json") == result
    assert read_json(folder / "evaluation.json")["smallbench"] == found["smallbench"]
    again = load_file(folder / "items.safetensors")
    assert again.keys() == items.keys()
    assert all(np.array_equal(again[name], items[name]) for name in items)


@pytest.mark.slow
def test_lm_evaluation_harness_agrees(measured, shared_data, tmp_path, monkeypatch):
    """On the exported run and four paradigms of BLiMP, lm-eval's accuracy is ours but for at most 2
    pairs in 1,000.
    """
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    folder, paradigms = (
        measured[0],
        ("anaphor_gender_agreement", "wh_island", "npi_present_1", "passive_1"),
    )
    export_run(str(folder), tmp_path / "model")
    with lzma.open(shared_data / "blimp" / "blimp.jsonl.xz") as file:
        rows = [json.loads(line) for line in file]
    task_files(tmp_path, [row for row in rows if row["UID"] in paradigms])
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    theirs = simple_evaluate(
        model="hf",
        model_args=f"pretrained={tmp_path / 'model'},dtype=float32",
        tasks=[f"local_{name}" for name in paradigms],
        task_manager=TaskManager(include_path=str(tmp_path / "tasks")),
        device="cpu",
        batch_size=64,
        bootstrap_iters=0,
    )
    model, corpus = (
        load_trained(folder),
        folder.parents[1] / "data" / read_json(folder / "config.json")["provenance"]["corpus"],
    )
    [part] = [part for part in load_sets(str(shared_data))[0] if part.name == "blimp"]
    from paramalloc.data import Corpus

    for name in paradigms:
        own = Set("blimp", [item for item in part.items if item.group.endswith("/" + name)])
        trees = plant(*encode(own, Corpus.open(corpus).tokenizer, 128))
        found = as_outcomes(own, *log_likelihoods(model, trees))
        counted = (found["correct"] > 0).sum() + 1000 - len(own.items)  # to lm-eval a tie is right
        assert abs(counted - 1000 * theirs["results"][f"local_{name}"]["acc,none"]) <= 2, name
