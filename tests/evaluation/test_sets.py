"""The sets are the published ones, wherever they come from; what is missing is named."""

import lzma
from dataclasses import replace

import pandas as pd
import pytest

from paramalloc.errors import InterruptedRunError
from paramalloc.evaluation import sets
from paramalloc.evaluation.sets import Set, load_sets
from paramalloc.evaluation.smallbench import take_subset


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


def test_a_signal_is_no_form_of_a_set(small_sets, monkeypatch):
    """An error that ends the run is passed on, while files are read and on the way to the hub."""

    def interrupted(*_):
        raise InterruptedRunError("the same command goes on")

    monkeypatch.setattr(sets, "_read_items", interrupted)
    monkeypatch.setattr(sets, "revision_on_hub", interrupted)
    sets._read_local_files.cache_clear()
    for source in (str(small_sets), "hub"):
        with pytest.raises(InterruptedRunError):
            load_sets(source)


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
