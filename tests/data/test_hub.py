"""Datasets of the hub, loaded by the real `datasets` from a folder laid out as on the hub."""

import os
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pandas as pd
import pytest
from data_fixtures import WIKI, documents, sentences

from paramalloc.config import ROOT
from paramalloc.data import hub as hub_module
from paramalloc.data import prepare
from paramalloc.errors import DataError

ALONE = Path(__file__).with_name("prepare_alone.py")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder as the hub has it: a card that lists configurations, and Parquet files."""
    wiki = [line if line.strip() else "" for line in WIKI.splitlines(keepends=True)] * 20
    pairs = [{"de": f"Satz {i}", "en": text} for i, text in enumerate(sentences(300))]
    columns = {"wikitext-2-v1": ("text", wiki), "de-en": ("translation", pairs)}
    card = "---\nconfigs:\n"
    for config, (column, rows) in columns.items():
        card += f"- config_name: {config}\n  data_files:\n"
        for split in ("train", "validation", "test"):
            card += f"  - {{split: {split}, path: {config}/{split}-*}}\n"
            (tmp_path / "hub" / config).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "hub" / config / f"{split}-0.parquet"
            pd.DataFrame({column: rows}).to_parquet(path)
    (tmp_path / "hub" / "README.md").write_text(card + "---\n")
    repo = str(tmp_path / "hub")
    known = {
        "wikitext-2": hub_module.HubDataset(repo, "wikitext-2-v1", None),
        "wmt": hub_module.HubDataset(repo, "de-en", None),
    }
    monkeypatch.setattr(hub_module, "HUB", known)
    monkeypatch.setattr(hub_module, "revision_on_hub", lambda repo, revision: None)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "hub"


def test_hub_wikitext_equals_the_file(hub, tmp_path):
    """Rows of the hub, whose empty lines lost their space, become the original text."""
    corpus = prepare("wikitext-2", 270, tmp_path)
    assert "".join(documents(corpus, "valid")) == WIKI * 20
    assert corpus.meta["wikitext"] and corpus.name == "wikitext-2"


def test_wmt_is_cut_to_the_budget(hub, tmp_path):
    """The English side, a document per sentence, until 5 bytes per token of the budget are read."""
    corpus = prepare("wmt", 280, tmp_path, tokens=4000)
    train = documents(corpus, "train")
    assert train == sentences(300)[: len(train)]
    assert 20_000 <= corpus.meta["splits"]["train"]["bytes"] < 20_300
    assert len(documents(corpus, "valid")) == 300


def test_prepared_hub_corpus_needs_no_network(hub, tmp_path, monkeypatch):
    """What was prepared is found again without asking the hub; another budget is not."""

    def fail(repo, revision):
        raise ConnectionError("no network")

    first = prepare("wmt", 280, tmp_path, tokens=4000)
    monkeypatch.setattr(hub_module, "revision_on_hub", fail)
    assert prepare("wmt", 280, tmp_path, tokens=4000).folder == first.folder
    with pytest.raises(
        DataError,
        match=r"cannot load wmt from the Hugging Face hub \(no network\): check the network",
    ):
        prepare("wmt", 280, tmp_path, tokens=5000)


def test_wmt_needs_a_budget(tmp_path):
    """Streaming without an end is refused."""
    with pytest.raises(DataError, match="give tokens"):
        prepare("wmt14:de-en", 300, tmp_path)


def test_no_network_is_said_at_once(tmp_path):
    """Without a network the hub's name is refused within seconds, in one line."""
    env = os.environ | {
        "HF_ENDPOINT": "http://localhost:9",
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(tmp_path),
    }
    start = time.monotonic()
    command = [sys.executable, ALONE, tmp_path, "wikitext-2"]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert time.monotonic() - start < 30  # about 5 on an idle machine
    message = "DataError: cannot load wikitext-2 from the Hugging Face hub ("
    assert message in result.stderr.splitlines()[-1]
