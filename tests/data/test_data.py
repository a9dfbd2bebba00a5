"""One claim per test: what a corpus becomes, and what is refused."""

import gzip
import json
import lzma
import os
import subprocess
import sys
import threading
import time

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramalloc.config import ROOT
from paramalloc.data import (
    EOT,
    EOT_TEXT,
    Batches,
    Corpus,
    builtin,
    describe,
    frequent_tokens,
    longest_tokens,
    prepare,
    sources,
    token_counts,
)
from paramalloc.data import corpus as data
from paramalloc.errors import DataError

SHARED = ROOT.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
WORDS = "the cat sat on a mat while many other animals were walking along some river near that old mill".split()


def sentences(n, seed=0):
    """n different documents of two lines."""
    random = np.random.default_rng(seed)
    return [f"Story {seed}-{i}\n" + " ".join(random.choice(WORDS, 30)) + " ." for i in range(n)]


def folder(path, n=60, **files):
    """A folder with train, valid and test text, and what `files` adds or replaces (None removes)."""
    texts = {
        name: "\n\n".join(sentences(n, seed))
        for seed, name in enumerate(["train", "valid", "test"])
    } | files
    path.mkdir(exist_ok=True)
    for name, text in texts.items():
        if text is not None:
            (path / f"{name}.txt").write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    path = tmp_path_factory.mktemp("corpus")
    return prepare(str(folder(path / "stories")), 300, path)


def documents(corpus, split):
    """The texts of a split, decoded between its end-of-text tokens."""
    tokens = corpus.split(split).astype(int)
    pieces = np.split(tokens, np.flatnonzero(tokens == EOT) + 1)[:-1]
    return [
        corpus.tokenizer.decode(piece[:-1].tolist(), skip_special_tokens=False) for piece in pieces
    ]


# Tokens


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_round_trip(corpus, text):
    """decode(encode(x)) == x for any text."""
    ids = corpus.tokenizer.encode(text).ids
    assert corpus.tokenizer.decode(ids, skip_special_tokens=False) == text
    assert EOT not in ids


ODD = [EOT_TEXT, f"a{EOT_TEXT}b", "\x00\r\n\t  \u200b", "e\u0301 👩‍👩‍👧 \ufffd", " x ", "\ufeff"]


@pytest.mark.parametrize("text", ODD)
def test_round_trip_of_odd_text(corpus, text):
    """Special text, control characters, joiners and marks come back as they were."""
    assert (
        corpus.tokenizer.decode(corpus.tokenizer.encode(text).ids, skip_special_tokens=False)
        == text
    )


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("ab' \n\t\r.1\u00a0\u3000\x1c\x85é'slt")))
def test_pieces_change_no_token(corpus, text):
    """A long document cut in pieces has the tokens of the whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "PIECE_CHARS", 3)
        pieces = data._pieces(text)
    assert "".join(pieces) == text
    encoded = [id for piece in pieces for id in corpus.tokenizer.encode(piece).ids]
    assert encoded == corpus.tokenizer.encode(text).ids


def test_no_token_is_lost(corpus):
    """The token files hold the documents of the files, in order, each closed by one end-of-text token."""
    for seed, split in enumerate(data.SPLITS):
        assert documents(corpus, split) == sentences(60, seed)
        assert (corpus.split(split) == EOT).sum() == corpus.meta["splits"][split]["documents"] == 60


def test_literal_end_of_text_is_text(tmp_path):
    """ "<|endoftext|>" inside a document does not end it."""
    corpus = prepare(
        str(folder(tmp_path / "c", valid=f"one {EOT_TEXT} two\n\nthree")), 300, tmp_path
    )
    assert documents(corpus, "valid") == [f"one {EOT_TEXT} two", "three"]


def test_tokenizer_sees_train_alone(tmp_path):
    """Text of valid and test does not change the tokenizer."""
    one = prepare(str(folder(tmp_path / "a")), 300, tmp_path)
    two = prepare(
        str(folder(tmp_path / "b", valid="zebra " * 500, test="quokka " * 500)), 300, tmp_path
    )
    assert one.tokenizer.to_str() == two.tokenizer.to_str()


def test_counts(tmp_path):
    """Documents, lines, words, UTF-8 bytes and tokens are those of the text as tokenised."""
    corpus = prepare(
        str(folder(tmp_path / "c", valid="\n\nüber zwei\nLinien\n \n\ndrei\n")), 300, tmp_path
    )
    split = corpus.meta["splits"]["valid"]
    assert [split[k] for k in ("documents", "lines", "words", "bytes", "ppl_words")] == [
        2,
        3,
        4,
        17 + 4,
        4,
    ]
    assert split["tokens"] == len(corpus.split("valid")) == corpus.counts("valid").sum()
    assert corpus.split("valid").dtype == np.uint16


def test_unigram_entropy(corpus):
    """It is the cross-entropy of add-one smoothed train counts, in nats."""
    counts = np.bincount(corpus.split("train"), minlength=300) + 1
    expected = -np.log(counts / counts.sum())[corpus.split("valid")].mean()
    assert corpus.unigram_entropy("valid") == pytest.approx(expected)


def test_equal_data_equal_fingerprint(tmp_path, corpus):
    """The fingerprint is of the content: another place, the same digits; another text, others."""
    again = prepare(str(folder(tmp_path / "elsewhere")), 300, tmp_path)
    other = prepare(str(folder(tmp_path / "other", valid="another text")), 300, tmp_path)
    assert again.fingerprint == corpus.fingerprint != other.fingerprint
    assert len(again.fingerprint) == 64


# Batches


def test_batches_are_pure():
    """batches(step) depends on seed and step alone, whatever was asked before."""
    tokens = np.arange(1000, dtype=np.uint16)
    one, two = Batches(tokens, 16, 4, seed=3), Batches(tokens, 16, 4, seed=3)
    later = [one(step) for step in range(60)][50]
    np.testing.assert_array_equal(later, two(50))
    assert not np.array_equal(later, Batches(tokens, 16, 4, seed=4)(50))


def test_y_is_x_shifted():
    """y is x one token ahead, both (batch_size, seq_len) int64."""
    x, y = Batches(np.arange(1000, dtype=np.uint16), 16, 4, seed=0)(7)
    assert x.shape == y.shape == (4, 16) and x.dtype == y.dtype == np.int64
    np.testing.assert_array_equal(y, (x + 1) % 1000)


@pytest.mark.parametrize("length", [17, 160, 161, 175])
def test_epoch_walks_every_window_once(length):
    """In an epoch no token is input twice, fewer than seq_len are left out, and epochs differ."""
    batches, per_epoch = Batches(np.arange(length, dtype=np.uint16), 16, 1, seed=0), length // 16
    epochs = [
        np.concatenate([batches(e * per_epoch + i)[0][0] for i in range(per_epoch)])
        for e in range(3)
    ]
    for inputs in epochs:
        assert len(set(inputs.tolist())) == len(inputs) == 16 * per_epoch
    assert not np.array_equal(epochs[0], epochs[1])


def test_batch_may_straddle_epochs():
    """A batch larger than an epoch takes the windows of the following ones."""
    tokens = np.arange(50, dtype=np.uint16)
    wide, single = Batches(tokens, 16, 7, seed=0), Batches(tokens, 16, 1, seed=0)
    np.testing.assert_array_equal(wide(1)[0], np.concatenate([single(i)[0] for i in range(7, 14)]))


def test_too_short_for_a_window():
    """A split without one whole window is refused."""
    with pytest.raises(DataError, match="16 tokens are too few for one window of seq_len 16"):
        Batches(np.zeros(16, np.uint16), 16, 1, seed=0)


# Formats and splits


def write(path, text):
    if path.suffix == ".zst":
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(text.encode())
    else:
        {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)(path, "wb").write(text.encode())


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_text_formats(tmp_path, corpus, kind, suffix):
    """.txt and .jsonl, plain or compressed, give the same token files."""
    path = tmp_path / "c"
    path.mkdir()
    for seed, split in enumerate(data.SPLITS):
        texts = sentences(60, seed)
        lines = [json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)]
        write(
            path / f"{split}.{kind}{suffix}",
            "\n\n".join(texts) if kind == "txt" else "".join(lines),
        )
    assert prepare(str(path), 300, tmp_path).fingerprint == corpus.fingerprint


def test_parquet(tmp_path, corpus):
    """Parquet is read from `text`, else from the only column of strings."""
    (tmp_path / "c").mkdir()
    for seed, (split, column) in enumerate(zip(data.SPLITS, ["text", "body", "text"])):
        pd.DataFrame({column: sentences(60, seed), "n": 1}).to_parquet(
            tmp_path / "c" / f"{split}.parquet"
        )
    assert prepare(str(tmp_path / "c"), 300, tmp_path).fingerprint == corpus.fingerprint


@pytest.mark.parametrize(
    "name, split",
    [
        ("train-0.txt", "train"),
        ("wiki.valid.txt", "valid"),
        ("validation/0.txt", "valid"),
        ("my_dev.txt", "valid"),
        ("Test.TXT", "test"),
        ("newstest2021.txt", "train"),
        ("contest.txt", "train"),
        ("trainer.txt", "train"),
    ],
)
def test_split_by_name(name, split):
    """The split is a word of the name, not a part of a word."""
    assert sources._split_of(name) == split


def test_held_out_is_disjoint_and_deterministic(tmp_path):
    """A missing split takes whole documents out of train, each to one split, the same ones each time."""
    texts = sentences(1000) + sentences(100)  # a tenth twice
    prepared = [
        prepare(
            str(folder(tmp_path / name, train="\n\n".join(texts), valid=None, test=None)),
            300,
            tmp_path / name,
        )
        for name in ("a", "b")
    ]
    assert prepared[0].fingerprint == prepared[1].fingerprint
    train, valid, test = (documents(prepared[0], split) for split in data.SPLITS)
    assert sorted(train + valid + test) == sorted(texts)
    assert not set(train) & set(valid) and not set(train) & set(test) and not set(valid) & set(test)
    assert 5 < len(valid) < 45 and 5 < len(test) < 45


def test_only_the_missing_split_is_held_out(tmp_path):
    """A split that has a file gets nothing from train."""
    corpus = prepare(str(folder(tmp_path / "c", n=300, test=None)), 300, tmp_path)
    assert documents(corpus, "valid") == sentences(300, 1)
    assert 0 < len(documents(corpus, "test")) < 30


def test_joined(tmp_path):
    """`a+b` holds the documents of both, in order."""
    a, b = folder(tmp_path / "a"), folder(tmp_path / "b", valid="another valid text")
    corpus = prepare(f"{a}+{b}", 300, tmp_path)
    assert corpus.name == "a+b"
    assert documents(corpus, "valid") == sentences(60, 1) + ["another valid text"]


def test_path_with_plus_wins(tmp_path):
    """A folder whose name holds a `+` is that folder."""
    assert (
        prepare(str(folder(tmp_path / "c+c")), 300, tmp_path).meta["splits"]["train"]["documents"]
        == 60
    )


# WikiText

LINES = [
    "",
    "= Cat =",
    "",
    "A cat , ( n",
    "= 3 = 3 =",
    "= = Diet = =",
    "",
    "Mice .",
    "",
    "= Dog =",
    "",
    "Woof .",
]
WIKI = "".join(f" {line} \n" if line else " \n" for line in LINES)


def test_wikitext_is_cut_at_titles(tmp_path):
    """Titles stand between blank lines; every character, line and word is kept; lines count as words for perplexity."""
    corpus = prepare(str(folder(tmp_path / "c", test=WIKI)), 300, tmp_path)
    cut = WIKI.index(" = Dog =")
    assert documents(corpus, "test") == [WIKI[:cut], WIKI[cut:]]
    split = corpus.meta["splits"]["test"]
    assert (split["lines"], split["words"]) == (WIKI.count("\n"), len(WIKI.split()))
    assert split["ppl_words"] == split["words"] + split["lines"]
    assert split["bytes"] == len(WIKI.encode())


@needs_shared
@pytest.mark.slow
def test_published_wikitext_2_counts(tmp_path):
    """words + lines are the published token counts, articles 600 / 60 / 60."""
    splits = prepare(str(SHARED / "wikitext-2"), 1000, tmp_path).meta["splits"]
    assert [splits[s]["ppl_words"] for s in data.SPLITS] == [2_088_628, 217_646, 245_569]
    assert [splits[s]["documents"] for s in data.SPLITS] == [600, 60, 60]


# The hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder laid out as on the hub: a card with configurations, and Parquet; loaded by the real `datasets`."""
    wiki = [line if line.strip() else "" for line in WIKI.splitlines(keepends=True)] * 20
    pairs = [{"de": f"Satz {i}", "en": text} for i, text in enumerate(sentences(300))]
    columns = {"wikitext-2-v1": ("text", wiki), "de-en": ("translation", pairs)}
    card = "---\nconfigs:\n"
    for config, (column, rows) in columns.items():
        card += f"- config_name: {config}\n  data_files:\n"
        for split in ("train", "validation", "test"):
            card += f"  - {{split: {split}, path: {config}/{split}-*}}\n"
            (tmp_path / "hub" / config).mkdir(parents=True, exist_ok=True)
            pd.DataFrame({column: rows}).to_parquet(
                tmp_path / "hub" / config / f"{split}-0.parquet"
            )
    (tmp_path / "hub" / "README.md").write_text(card + "---\n")
    monkeypatch.setattr(
        sources,
        "HUB",
        {
            "wikitext-2": (str(tmp_path / "hub"), "wikitext-2-v1", None),
            "wmt": (str(tmp_path / "hub"), "de-en", None),
        },
    )
    monkeypatch.setattr(sources, "revision_on_hub", lambda repo, revision: None)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "hub"


def test_hub_wikitext_equals_the_file(hub, tmp_path):
    """The rows of the hub, whose empty lines lost their space, become the text of the original file."""
    corpus = prepare("wikitext-2", 270, tmp_path)
    assert "".join(documents(corpus, "valid")) == WIKI * 20
    assert corpus.meta["wikitext"] and corpus.name == "wikitext-2"


def test_wmt_is_cut_to_the_budget(hub, tmp_path):
    """The English side, one document per sentence, until 5 bytes of text per token of the budget are read."""
    corpus = prepare("wmt", 280, tmp_path, tokens=4000)
    train = documents(corpus, "train")
    assert train == sentences(300)[: len(train)]
    assert 20_000 <= corpus.meta["splits"]["train"]["bytes"] < 20_300
    assert len(documents(corpus, "valid")) == 300


def test_prepared_hub_corpus_needs_no_network(hub, tmp_path, monkeypatch):
    """What was prepared by that name is found again without asking the hub; another budget is not."""
    first = prepare("wmt", 280, tmp_path, tokens=4000)
    monkeypatch.setattr(
        sources,
        "revision_on_hub",
        lambda repo, revision: (_ for _ in ()).throw(ConnectionError("no network")),
    )
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
    code = f"from paramalloc.data import prepare; prepare('wikitext-2', 300, {str(tmp_path)!r})"
    env = os.environ | {
        "HF_ENDPOINT": "http://localhost:9",
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(tmp_path),
    }
    start = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert time.monotonic() - start < 30  # about 5 on an idle machine
    assert (
        "DataError: cannot load wikitext-2 from the Hugging Face hub ("
        in result.stderr.splitlines()[-1]
    )


# Once, whole, streaming


def test_second_preparation_is_found(tmp_path, monkeypatch):
    """The same thing again trains and encodes nothing, wherever the folder lies, and takes no time."""
    first = prepare(str(folder(tmp_path / "c")), 300, tmp_path)
    monkeypatch.setattr(data, "_train_tokenizer", None)
    start = time.monotonic()
    assert prepare(str(tmp_path / "c"), 300, tmp_path) == first
    assert time.monotonic() - start < 2


def test_changed_text_is_prepared_again(tmp_path):
    """Other bytes in a file, another vocabulary: another folder."""
    folders = {
        prepare(str(folder(tmp_path / "c")), 300, tmp_path).folder,
        prepare(str(folder(tmp_path / "c")), 299, tmp_path).folder,
        prepare(str(folder(tmp_path / "c", test="other")), 300, tmp_path).folder,
    }
    assert len(folders) == 3


def test_racing_preparations_agree(tmp_path):
    """Of two that make the same thing at once, one wins and both have it; nothing else stays."""
    path, found = folder(tmp_path / "c"), []
    race = [
        threading.Thread(target=lambda: found.append(prepare(str(path), 300, tmp_path)))
        for _ in range(3)
    ]
    [thread.start() for thread in race]
    [thread.join() for thread in race]
    assert found[0] == found[1] == found[2]
    assert [p.name for p in (tmp_path / "data").iterdir()] == [found[0].folder.name]


def test_progress(tmp_path):
    """Fractions of each stage rise from 0 to 1."""
    calls = []
    prepare(str(folder(tmp_path / "c")), 300, tmp_path, progress=lambda *call: calls.append(call))
    for stage in ("tokenizer", "encode"):
        fractions = [fraction for name, fraction in calls if name == stage]
        assert fractions == sorted(fractions) and (fractions[0], fractions[-1]) == (0, 1)


PEAK = """
import resource, sys
from pathlib import Path
from paramalloc.data import prepare
for path in sys.argv[2:]:
    prepare(path, 300, Path(sys.argv[1]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10))
"""


def test_memory_does_not_grow(tmp_path):
    """Ten times the text takes hardly more memory."""
    lines = ["\n".join(sentences(1000, seed)) for seed in range(10)]
    small = folder(tmp_path / "small", train="\n\n".join(lines))  # 2 MB
    large = folder(tmp_path / "large", train="\n\n".join(lines * 10))  # 20 MB
    command = [sys.executable, "-c", PEAK, tmp_path, small, large]
    output = subprocess.check_output(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True)
    first, second = map(int, output.split())
    assert (
        second - first < 60
    )  # MB; the text alone is 18 MB more, as encodings it would be gigabytes


# Refused


def refuse(tmp_path, dataset, message, vocab_size=300):
    """prepare raises one line that matches, and leaves nothing behind."""
    with pytest.raises(DataError, match=message) as caught:
        prepare(str(dataset), vocab_size, tmp_path / "out")
    assert "\n" not in str(caught.value)
    left = tmp_path / "out" / "data"
    assert not left.exists() or not any(left.iterdir())


@pytest.mark.parametrize("vocab_size", [256, 100_000])
def test_vocabulary_must_fit(tmp_path, vocab_size):
    """Fewer tokens than bytes, or more than uint16 counts, are refused before anything is read."""
    refuse(tmp_path, "nowhere", "257.*65536.*uint16", vocab_size)


def test_vocabulary_too_large_for_the_text(tmp_path):
    """The message names the largest vocabulary that works, and it does work."""
    path = folder(tmp_path / "c")
    refuse(
        tmp_path,
        path,
        r"only (\d+) of the 4096 tokens could be learnt.*use a vocab_size of at most",
        4096,
    )
    with pytest.raises(DataError) as caught:
        prepare(str(path), 4096, tmp_path)
    most = int(str(caught.value).split("only ")[1].split()[0])
    assert prepare(str(path), most, tmp_path).tokenizer.get_vocab_size() == most


@pytest.mark.parametrize("name", ["wikitext2", ""])
def test_unknown_name(tmp_path, name):
    """A name that is neither lists the known corpora."""
    refuse(
        tmp_path, name, f"'{name}': no such file or folder.*builtin, wikitext-2, wikitext-103, wmt"
    )


def test_missing_in_a_join(tmp_path):
    """The missing part of a join is the one that is named."""
    refuse(tmp_path, f"{folder(tmp_path / 'c')}+{tmp_path / 'no'}", "no': no such file or folder")


def test_empty_folder(tmp_path):
    """A folder without a text file says which formats are read."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "image.png").write_bytes(b"")
    refuse(tmp_path, tmp_path / "c", r"no .txt, .jsonl or .parquet file")


def test_not_utf8(tmp_path):
    """The file and the offset of the byte are named."""
    path = folder(tmp_path / "c")
    (path / "train-2.txt").write_bytes(b"good\n\nna\xefve")
    refuse(tmp_path, path, r"train-2.txt is not UTF-8 text: bad byte at offset 8")


@pytest.mark.parametrize(
    "name", ["broken.txt.gz", "broken.txt.xz", "broken.jsonl.zst", "broken.parquet"]
)
def test_broken_file(tmp_path, name):
    """A file that is not in its format is named."""
    path = folder(tmp_path / "c")
    (path / name).write_bytes(b"this is not it")
    refuse(tmp_path, path, f"cannot read .*{name}")


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"a": "x", "b": "y"}', r"which column is the text\? Name it `text` \(columns: a, b\)"),
        ('{"text": "x"}\n{"text": 3}', "line 2: no text in the field 'text'"),
        ('{"text": "x"}\n{"text": ', "line 2: not a JSON object"),
        ("[1]", "line 1: not a JSON object"),
    ],
)
def test_jsonl_without_text(tmp_path, line, message):
    """A record without text is named by file and line."""
    path = folder(tmp_path / "c")
    (path / "more.jsonl").write_text(line)
    refuse(tmp_path, path, f"more.jsonl.*{message}")


def test_split_without_text(tmp_path):
    """A split that the hold-out leaves empty, or whose file is blank, is named."""
    refuse(tmp_path, folder(tmp_path / "a", test=" \n\n"), "no text for the test split")
    refuse(
        tmp_path,
        folder(tmp_path / "b", n=3, train=("a cat " * 99 + "\n\n") * 3, valid=None, test="x"),
        "no text for the valid split.*are held out",
        258,
    )
    refuse(tmp_path, folder(tmp_path / "c", train=None), "no text for the train split")


# The built-in corpus


@pytest.fixture(scope="module")
def prose():
    return builtin._by_split()


@pytest.mark.slow
def test_builtin_sizes(tmp_path):
    """Enough to train on, held-out splits that a minute evaluates."""
    splits = prepare("builtin", 4096, tmp_path).meta["splits"]
    assert 800_000 < splits["train"]["tokens"] < 3_000_000
    assert all(30_000 < splits[s]["tokens"] < 80_000 for s in ("valid", "test"))


@pytest.mark.slow
def test_builtin_has_no_duplicates(prose):
    """No document occurs twice, within a split or across."""
    texts = [text for split in prose.values() for text in split]
    assert len(texts) == len(set(texts))


def test_builtin_takes_only_what_is_always_installed():
    """The versions name Python and direct or certain dependencies; optional packages are not among them."""
    assert (
        not {"transformers", "jupyterlab", "hypothesis", "pytest", "nbval"}
        & builtin.versions().keys()
    )
    assert {"python", "torch", "numpy"} <= builtin.versions().keys()


@pytest.mark.parametrize(
    "text, kept",
    [
        ("This sentence has more than six ordinary words.", True),
        (">>> print(this is a doctest with many words in it)", False),
        ("| a | table | with | many | cells | in | it |", False),
        ("x = f(y[0], z[1]) + g(a, b, c, d, e) * 2", False),
    ],
)
def test_builtin_is_prose(text, kept):
    """Paragraphs of words stay; examples, tables and code go."""
    assert bool(builtin._prose(text)) == kept


# Tables


def test_tables(corpus):
    """The tables of the notebook: counts agree with meta.json, ranks follow counts, odd tokens are literals."""
    table, counts = describe(corpus), token_counts(corpus)
    assert table.loc["train", "tokens"] == counts["count"].sum() == len(corpus.split("train"))
    assert counts["count"].is_monotonic_decreasing and counts["rank"].tolist() == list(
        range(1, 301)
    )
    assert frequent_tokens(corpus, 3)["rank"].tolist() == [1, 2, 3]
    assert longest_tokens(corpus, 1)["token"].item() == repr(EOT_TEXT)
    assert repr("\n") in set(counts["token"])
