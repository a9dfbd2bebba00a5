"""SmallBench scores what it says, its errors are right, and a tool from elsewhere agrees."""

import json
import lzma
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from blimp_tasks import task_files
from safetensors.numpy import load_file

from paramalloc.cli import main
from paramalloc.config import ModelConfig, TrainConfig
from paramalloc.evaluation import likelihood, read_smallbench, sets
from paramalloc.evaluation.estimates import compare, estimate, headline, summarise
from paramalloc.evaluation.finished import load_trained
from paramalloc.evaluation.likelihood import log_likelihoods, packs
from paramalloc.evaluation.ngram import Unigram
from paramalloc.evaluation.scoring import encode, model_score, ngram_score, score_items
from paramalloc.evaluation.sets import Choices, Set, load_sets
from paramalloc.evaluation.smallbench import run_smallbench, take_subset
from paramalloc.export import export_run
from paramalloc.model import DecoderLM
from paramalloc.runs import Run, read_json
from paramalloc.training import train

SHAPE = ModelConfig(
    vocab_size=320, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16, d_ff=64
)


# ---- log-probabilities


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DecoderLM(SHAPE).eval()


@pytest.fixture
def texts():
    """200 texts of 2 to 40 tokens, many with a common beginning, some the same."""
    random = np.random.default_rng(0)
    stems = [[0, *random.integers(0, 320, n)] for n in (1, 5, 10, 30)]
    found = [
        stems[random.integers(4)] + list(random.integers(0, 320, random.integers(1, 10)))
        for _ in range(190)
    ]
    return [list(map(int, text)) for text in found + found[:10]]


@torch.no_grad()
def test_a_tree_gives_what_each_text_gives_alone(model, texts, monkeypatch):
    """Summed log-probabilities and whether all tokens are the likeliest, of any number of last
    tokens, in any packing.
    """
    random = np.random.default_rng(1)
    scored = [int(random.integers(1, len(text))) for text in texts]
    expected, likeliest = [], []
    for n, text in enumerate(texts):
        if n % 3 == 0:  # make some of them the likeliest
            for i in range(len(text) - scored[n], len(text)):
                text[i] = model(torch.tensor([text[:i]]))[0, -1].argmax().item()
        log_p = model(torch.tensor([text]))[0].log_softmax(-1)
        at = range(len(text) - 1 - scored[n], len(text) - 1)
        expected.append(sum(log_p[i, text[i + 1]].item() for i in at))
        likeliest.append(all(log_p[i].argmax() == text[i + 1] for i in at))
    for nodes, batch in ((128, 8192), (20, 100), (10_000, 1)):
        monkeypatch.setattr(likelihood, "NODES", nodes)
        monkeypatch.setattr(likelihood, "BATCH_NODES", batch)
        found, best = log_likelihoods(model, texts, scored, greedy=True)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert list(best) == likeliest and 60 <= sum(best) < 120


def test_a_tree_holds_a_common_beginning_once(texts):
    """No node twice under the same parent; fewer nodes than tokens; every scored token has its
    place.
    """
    found = list(packs(texts, [1] * len(texts)))
    for pack in found:
        assert len(set(zip(pack.parents, pack.tokens, strict=True))) == len(pack.tokens)
    assert sum(len(pack.tokens) for pack in found) < 0.7 * sum(map(len, texts))
    assert sorted(text for pack in found for text, _ in pack.places) == list(range(len(texts)))


# ---- metrics


def test_outcomes_by_hand(tiny_corpus):
    """The likelier is right, a tie is half right; per character a longer sentence may win; bits are
    those of the right one.
    """
    part = Set(
        "blimp",
        [
            Choices("a/x", "", ("ab", "abcd")),
            Choices("a/x", "", ("abc", "abd")),
            Choices("b/y", "", ("abcd", "ab"), 1),
        ],
    )
    log_p = np.array([-3.0, -4.0, -2.0, -2.0, -6.0, -5.0])
    found = score_items(
        part, tiny_corpus.tokenizer, 32, lambda texts, scored, greedy: (log_p, None)
    )
    assert list(found.correct) == [1, 0.5, 1] and list(found.correct_norm) == [0, 0.5, 0]
    assert list(found.bits * math.log(2)) == pytest.approx([3, 2, 5]) and list(found.bytes) == [
        2,
        3,
        2,
    ]
    said = summarise(part, found)
    assert said["accuracy"] == pytest.approx(2.5 / 3) and said["smallbench"] == pytest.approx(
        (0.75 + 1) / 2 * 2 - 1
    )
    assert said["phenomena"]["a"]["accuracy"] == 0.75 and said["paradigms"]["y"]["accuracy"] == 1


def test_what_is_scored_is_the_choice_alone(tiny_corpus):
    """All of a sentence after the end-of-text; of a question the choice, and it is never cut, its
    context is.
    """
    tokenizer = tiny_corpus.tokenizer
    part = Set(
        "x",
        [
            Choices("g", "", ("The cat sees.",)),
            Choices("g", "Question: where " * 20 + "\nAnswer:", (" at home", " in the garden" * 9)),
        ],
    )
    texts, scored = encode(part, tokenizer, 32)
    assert (
        texts[0] == [0, *tokenizer.encode("The cat sees.").ids] and scored[0] == len(texts[0]) - 1
    )
    assert [tokenizer.decode(text[-n:]) for text, n in zip(texts, scored, strict=True)][1:] == [
        " at home",
        " in the garden" * 9,
    ]
    assert len(texts[1]) == 33 and len(texts[2]) == max(32, scored[2]) + 1


def test_standard_errors_are_those_of_sampling():
    """Over 2,000 samples of three paradigms of unequal size and difficulty the estimate varies as
    its error says.
    """
    random, sizes, p = np.random.default_rng(0), [200, 50, 400], [0.6, 0.9, 0.5]
    groups = pd.Series(np.repeat(["a/x", "a/y", "b/z"], sizes))
    found = np.array(
        [estimate(random.random(650) < np.repeat(p, sizes), groups) for _ in range(2000)]
    )
    assert found[:, 0].mean() == pytest.approx((0.75 + 0.5) / 2, abs=0.002)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.05)


def test_a_paired_difference_is_surer_than_two_errors():
    """Two models that agree on most items: the paired error is that of the differences, far below
    the unpaired.
    """
    random, groups = np.random.default_rng(0), pd.Series(np.repeat(["a/x", "b/y"], 500))
    one = (random.random(1000) < 0.6).astype(float)
    other = np.where(random.random(1000) < 0.05, 1 - one, one)
    found = compare(
        pd.DataFrame({"correct": one, "group": groups}),
        pd.DataFrame({"correct": other, "group": groups}),
    )
    assert found["smallbench"] == pytest.approx(
        headline(one, groups)["smallbench"] - headline(other, groups)["smallbench"]
    )
    assert found["se"] < 0.5 * math.hypot(
        headline(one, groups)["se"], headline(other, groups)["se"]
    )


def test_ngram_scores_are_sums(tiny_corpus):
    """Each text's is the sum over its last tokens; the unigram's does not depend on the order of
    the words.
    """
    model = Unigram(tiny_corpus.counts("train"))
    found, _ = ngram_score(model)([[0, 5, 6, 7], [9, 5], [0, 7, 6, 5]], [3, 1, 2])
    assert list(found) == pytest.approx(
        [model.log_p[[5, 6, 7]].sum(), model.log_p[5], model.log_p[[6, 5]].sum()]
    )


# ---- sets


def test_published_sizes(shared_data):
    """BLiMP: 67 paradigms of 1,000 pairs, 7 of them identical, in 12 phenomena; LAMBADA 5,153,
    ARC-Easy 2,376, PIQA 1,838.
    """
    found, missing = load_sets(str(shared_data))
    sizes = {part.name: len(part.items) for part in found}
    assert (
        sizes == {"blimp": 67_000 - 7, "lambada": 5_153, "arc_easy": 2_376, "piqa": 1_838}
        and not missing
    )
    groups = {item.group for item in found[0].items}
    assert len(groups) == 67 and len({group.split("/")[0] for group in groups}) == 12
    quick = take_subset(found, "quick")
    assert [len(part.items) for part in quick] == [67 * 50, 200, 200, 200]
    assert (
        quick[0].items[0] == found[0].items[0] and {item.group for item in quick[0].items} == groups
    )


def test_what_is_missing_is_named(small_sets, tmp_path):
    """A set that is not there, cannot be read or has another form: what to do, and the others are
    loaded.
    """
    found, missing = load_sets(str(tmp_path))
    assert (
        not found
        and "put blimp/*.jsonl into" in missing["blimp"]
        and "nyu-mll/blimp" in missing["blimp"]
    )
    (tmp_path / "smallbench").mkdir()
    (tmp_path / "blimp").mkdir()
    (tmp_path / "blimp" / "some.jsonl").write_text('{"sentence": "no pair"}\n')
    (tmp_path / "smallbench" / "piqa.jsonl.xz").write_bytes(b"not xz")
    (tmp_path / "smallbench" / "lambada_test.jsonl.xz").write_bytes(
        lzma.compress((small_sets / "smallbench" / "lambada_test.jsonl").read_bytes())
    )
    found, missing = load_sets(str(tmp_path))
    assert [part.name for part in found] == ["lambada"] and len(found[0].items) == 40
    assert (
        "not in the form" in missing["blimp"]
        and "cannot read" in missing["piqa"]
        and "put smallbench/arc_easy" in missing["arc_easy"]
    )


def hub_frames(folder) -> dict[str, dict[str, pd.DataFrame]]:
    """The local sets in the hub's layout, with its names: a frame for each set and config."""

    def read(name):
        return pd.read_json(folder / f"{name}.jsonl", lines=True, dtype=False)

    def texts(frame):
        return frame["query"].str.removeprefix("Question: ").str.rstrip("\n")

    blimp = read("blimp/blimp")
    arc = read("smallbench/arc_easy")
    piqa = read("smallbench/piqa")
    letters = list("ABCD")
    arc_on_hub = {
        "question": texts(arc),
        "answerKey": [letters[gold] for gold in arc["gold"]],
        "choices": [{"text": choices, "label": letters} for choices in arc["choices"]],
    }
    piqa_on_hub = {
        "goal": texts(piqa),
        "sol1": piqa["choices"].str[0],
        "sol2": piqa["choices"].str[1],
        "label": piqa["gold"],
    }
    return {
        "blimp": dict(list(blimp.groupby("UID"))),
        "lambada": {"default": read("smallbench/lambada_test")},
        "arc_easy": {"ARC-Easy": pd.DataFrame(arc_on_hub)},
        "piqa": {"default": pd.DataFrame(piqa_on_hub)},
    }


CONFIG_CARD = """- config_name: {config}
  data_files:
  - split: {split}
    path: {config}/{split}-*
"""


def write_dataset(folder, split: str, configs: dict[str, pd.DataFrame]):
    """A dataset as the hub keeps it: a parquet file for each config, and a card that names them."""
    card = "---\nconfigs:\n"
    for config, frame in configs.items():
        (folder / config).mkdir(parents=True)
        frame.to_parquet(folder / config / f"{split}-0.parquet")
        card += CONFIG_CARD.format(config=config, split=split)
    (folder / "README.md").write_text(card + "---\n")


def digests(parts: list[Set]) -> dict[str, str]:
    """The sha256 of each set, ordered by group: the hub has another order than the fixture."""
    ordered = [Set(part.name, sorted(part.items, key=lambda item: item.group)) for part in parts]
    return {part.name: part.sha256 for part in ordered}


def test_the_hub_gives_the_same_sets(small_sets, tmp_path, monkeypatch):
    """Rows in the hub's layout, read by the real `datasets`, are the local sets, by sha256."""
    here, _ = load_sets(str(small_sets))
    for name, configs in hub_frames(small_sets).items():
        source = sets.SETS[name]
        write_dataset(tmp_path / name, source.split, configs)
        monkeypatch.setitem(sets.SETS, name, replace(source, hub=str(tmp_path / name)))
    monkeypatch.setattr(sets, "revision_on_hub", lambda repo, revision: None)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    there, missing = load_sets("hub")
    assert not missing
    assert [len(part.items) for part in there] == [len(part.items) for part in here]
    assert digests(there) == digests(here)


def test_without_a_network_the_hub_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(
        sets,
        "revision_on_hub",
        lambda repo, revision: (_ for _ in ()).throw(ConnectionError("no network")),
    )
    found, missing = load_sets("hub")
    assert not found and set(missing) == set(sets.SETS)
    assert (
        "cannot load blimp from the Hugging Face hub (no network): "
        "check the network or put a local copy" in missing["blimp"]
    )


# ---- a run


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
        table.loc["this model is above by", "untrained"]
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
    """`paramalloc evaluate` gives the same numbers; without the sets it says what is missing and
    keeps the rest; a stride gives more context and keeps nothing.
    """
    folder, result, _ = measured
    assert (
        main(
            ["evaluate", str(folder), "--smallbench", "full", "--smallbench-data", str(small_sets)]
        )
        == 0
    )
    again = read_json(folder / "result.json")
    same = [
        name
        for name in result
        if not name.endswith(("_ms", "_ms_per_token", "_32", "per_s", "memory_bytes"))
    ]
    assert {name: again[name] for name in same} == {name: result[name] for name in same}
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--stride", "16"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["dev_loss"] < result["dev_loss"] and read_json(folder / "result.json") == again
    assert main(["evaluate", str(folder), "--smallbench-data", str(tmp_path)]) == 0
    assert "blimp: put blimp/*.jsonl into" in capsys.readouterr().err
    assert main(["evaluate", "nosuchrun"]) == 2
    assert (
        main(
            ["evaluate", str(folder), "--smallbench", "full", "--smallbench-data", str(small_sets)]
        )
        == 0
    )


def test_the_ngram_controls_are_computed_once(measured, tiny_corpus, small_sets, monkeypatch):
    """A second run of the same corpus and sets takes them from the file beside the corpus."""
    assert list(tiny_corpus.folder.glob("smallbench-*.safetensors"))
    monkeypatch.setattr("paramalloc.evaluation.controls.KneserNey", None)
    model = load_trained(measured[0])
    summary, _ = run_smallbench(
        model, model, tiny_corpus, 128, load_sets(str(small_sets))[0], "full"
    )
    assert summary["results"]["5-gram"] == measured[2]["smallbench"]["results"]["5-gram"]
    assert summary["above"]["untrained"] == {"smallbench": 0, "se": 0}


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
        found = score_items(own, Corpus.open(corpus).tokenizer, 128, model_score(model))
        counted = (found["correct"] > 0).sum() + 1000 - len(own.items)  # to lm-eval a tie is right
        assert abs(counted - 1000 * theirs["results"][f"local_{name}"]["acc,none"]) <= 2, name
