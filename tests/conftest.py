"""What every test file may use: the root, small corpora, markers that skip by themselves."""

import json
import shutil
from pathlib import Path
from random import Random

import pytest

from paramalloc.config import ROOT  # before any test imports torch: its threads sleep then

NOUNS = ["cat", "dog", "child", "teacher", "painter", "neighbour", "engineer", "gardener"]
VERBS = ["sees", "likes", "follows", "paints", "visits"]
PLACES = ["in the garden", "at home", "by the river", "every day"]
ENDINGS = ["at home.", "in the garden.", "by the river.", "every day."]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real corpora that some machines hold beside the clone; nothing downloads them."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the corpora in ../shared/data")
    return folder


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not has_cuda():
        pytest.skip("needs CUDA")
    if item.get_closest_marker("browser") and not shutil.which("chromium"):
        pytest.skip("needs Chromium")


def has_cuda() -> bool:
    import torch  # only here: a run without gpu tests does not wait for the import

    return torch.cuda.is_available()


def small_talk(documents: int, seed: int) -> str:
    """Text with something to learn: subject and verb agree, objects repeat.

    Documents stand between empty lines.
    """
    random = Random(seed)
    texts = []
    for _ in range(documents):
        sentences = [_sentence(random) for _ in range(random.randint(2, 8))]
        texts.append("\n".join(sentences))
    return "\n\n".join(texts) + "\n"


def _sentence(random: Random) -> str:
    is_plural = random.random() < 0.5
    verb = random.choice(VERBS)
    subject = f"the {random.choice(NOUNS)}"
    if is_plural:
        subject += "s"
        verb = verb[:-1]
    return f"{subject} {verb} the {random.choice(NOUNS)} {random.choice(PLACES)}.".capitalize()


@pytest.fixture(scope="session")
def small_talk_folder(tmp_path_factory) -> Path:
    """A corpus of about 100 kB in three files."""
    folder = tmp_path_factory.mktemp("small_talk")
    for seed, (split, documents) in enumerate({"train": 500, "valid": 30, "test": 30}.items()):
        (folder / f"talk.{split}.txt").write_text(small_talk(documents, seed))
    return folder


@pytest.fixture(scope="session")
def small_sets(tmp_path_factory) -> Path:
    """A folder with SmallBench's four sets about small talk.

    Agreement in 240 pairs of four paradigms, and 40 questions a set.
    """
    sentences = [line for line in small_talk(400, seed=9).splitlines() if line]
    random = Random(5)
    sets = {
        "blimp/blimp": _minimal_pairs(sentences[:240]),
        "smallbench/lambada_test": [
            {"text": line.removesuffix(".")} for line in sentences[240:280]
        ],
        "smallbench/arc_easy": [
            _question(random, f"Question: {line}", choices=4) for line in sentences[280:320]
        ],
        "smallbench/piqa": [
            _question(random, f"Question: {line}\n", choices=2) for line in sentences[320:360]
        ],
    }
    folder = tmp_path_factory.mktemp("sets")
    for name, rows in sets.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def _minimal_pairs(sentences: list[str]) -> list[dict]:
    """BLiMP's form: a good sentence and a bad one, in four paradigms; the last pair is a tie."""
    pairs = []
    for n, good in enumerate(sentences[:120]):
        pairs.append(_pair(n, f"agreement_{n % 2}", "agreement", good, _swap_number(good)))
    for n, good in enumerate(sentences[120:180]):
        pairs.append(_pair(n, "order", "s-selection", good, " ".join(sorted(good.split()))))
    for n, good in enumerate(sentences[180:240]):
        bad = good.removesuffix(".") + " the."
        pairs.append(_pair(n, "end", "argument_structure", good, bad))
    return [*pairs, _pair(99, "end", "argument_structure", "The same.", "The same.")]


def _pair(n: int, paradigm: str, term: str, good: str, bad: str) -> dict:
    return {
        "UID": paradigm,
        "pairID": str(n),
        "linguistics_term": term,
        "field": "syntax",
        "sentence_good": good,
        "sentence_bad": bad,
    }


def _swap_number(sentence: str) -> str:
    """The third word, which is the verb, in the other number."""
    words = sentence.split()
    verb = words[2]
    words[2] = verb[:-1] if verb.endswith("s") else verb + "s"
    return " ".join(words)


def _question(random: Random, query: str, choices: int) -> dict:
    return {
        "query": query,
        "choices": random.sample(ENDINGS, choices),
        "gold": random.randrange(choices),
    }


@pytest.fixture(scope="session")
def tiny(small_talk_folder) -> dict:
    """Parameters of a cell that trains in seconds: 60,000 weights, on small talk."""
    return {
        "profile": "quick",
        "dataset": str(small_talk_folder),
        "total_params": 60_000,
        "vocab_size": 320,
        "tokens": 40_960,
        "seq_len": 32,
        "batch_tokens": 1024,
        "probes": 8,
        "probe_tokens": 1024,
        "embed_share": 0.35,
        "tolerance": 0.02,
        "device": "cpu",
        "early_stop": "off",
        "smallbench": "off",
    }


@pytest.fixture(scope="session")
def tiny_corpus(tiny, tmp_path_factory):
    from paramalloc.data import prepare

    return prepare(tiny["dataset"], tiny["vocab_size"], tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def browser():
    """Chromium, as it is installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()
