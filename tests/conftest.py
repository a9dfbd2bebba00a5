"""What every test file may use: the repository's root, the shared corpora, and the markers that skip by themselves."""

import json
import shutil
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).resolve().parents[1]


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
    """Text with something to learn: subject and verb agree, objects repeat. Documents stand between empty lines."""
    random, who = (
        Random(seed),
        ["cat", "dog", "child", "teacher", "painter", "neighbour", "engineer", "gardener"],
    )
    what, where = (
        ["sees", "likes", "follows", "paints", "visits"],
        ["in the garden", "at home", "by the river", "every day"],
    )

    def sentence():
        many = random.random() < 0.5
        verb, name = random.choice(what), random.choice(who)
        subject = f"the {name}s" if many else f"the {name}"
        return f"{subject} {verb[:-1] if many else verb} the {random.choice(who)} {random.choice(where)}.".capitalize()

    return (
        "\n\n".join(
            "\n".join(sentence() for _ in range(random.randint(2, 8))) for _ in range(documents)
        )
        + "\n"
    )


@pytest.fixture(scope="session")
def small_talk_folder(tmp_path_factory) -> Path:
    """A corpus of about 100 kB in three files."""
    folder = tmp_path_factory.mktemp("small_talk")
    for seed, (split, documents) in enumerate({"train": 500, "valid": 30, "test": 30}.items()):
        (folder / f"talk.{split}.txt").write_text(small_talk(documents, seed))
    return folder


@pytest.fixture(scope="session")
def small_sets(tmp_path_factory) -> Path:
    """A folder with SmallBench's four sets about small talk: agreement in 240 pairs of four paradigms, 40 questions a set."""
    folder, random = tmp_path_factory.mktemp("sets"), Random(5)
    sentences = [line for line in small_talk(400, seed=9).splitlines() if line]
    pair = lambda n, uid, term, good, bad: {
        "UID": uid,
        "pairID": str(n),
        "linguistics_term": term,
        "field": "syntax",
        "sentence_good": good,
        "sentence_bad": bad,
    }
    swapped = lambda words: " ".join(
        [
            words[0],
            words[1],
            words[2] + "s" if not words[2].endswith("s") else words[2][:-1],
            *words[3:],
        ]
    )
    pairs = [
        pair(n, f"agreement_{n % 2}", "agreement", line, swapped(line.split()))
        for n, line in enumerate(sentences[:120])
    ]
    pairs += [
        pair(n, "order", "s-selection", line, " ".join(sorted(line.split())))
        for n, line in enumerate(sentences[120:180])
    ]
    pairs += [
        pair(n, "end", "argument_structure", line, line.removesuffix(".") + " the.")
        for n, line in enumerate(sentences[180:240])
    ]
    pairs.append(pair(99, "end", "argument_structure", "The same.", "The same."))
    choices = lambda n: random.sample(
        ["at home.", "in the garden.", "by the river.", "every day."], n
    )
    sets = {
        "blimp/blimp": pairs,
        "smallbench/lambada_test": [
            {"text": line.removesuffix(".")} for line in sentences[240:280]
        ],
        "smallbench/arc_easy": [
            {"query": f"Question: {line}", "choices": choices(4), "gold": random.randrange(4)}
            for line in sentences[280:320]
        ],
        "smallbench/piqa": [
            {"query": f"Question: {line}\n", "choices": choices(2), "gold": random.randrange(2)}
            for line in sentences[320:360]
        ],
    }
    for name, rows in sets.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny(small_talk_folder) -> dict:
    """Parameters of a cell that trains in seconds: 60,000 parameters on small talk."""
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
