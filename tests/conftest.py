"""What every test file may use: the repository's root, the shared corpora, and the markers that skip by themselves."""

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
    random, who = Random(seed), ["cat", "dog", "child", "teacher", "painter", "neighbour", "engineer", "gardener"]
    what, where = ["sees", "likes", "follows", "paints", "visits"], ["in the garden", "at home", "by the river", "every day"]

    def sentence():
        many = random.random() < 0.5
        verb, name = random.choice(what), random.choice(who)
        subject = f"the {name}s" if many else f"the {name}"
        return f"{subject} {verb[:-1] if many else verb} the {random.choice(who)} {random.choice(where)}.".capitalize()

    return "\n\n".join("\n".join(sentence() for _ in range(random.randint(2, 8))) for _ in range(documents)) + "\n"


@pytest.fixture(scope="session")
def small_talk_folder(tmp_path_factory) -> Path:
    """A corpus of about 100 kB in three files."""
    folder = tmp_path_factory.mktemp("small_talk")
    for seed, (split, documents) in enumerate({"train": 500, "valid": 30, "test": 30}.items()):
        (folder / f"talk.{split}.txt").write_text(small_talk(documents, seed))
    return folder


@pytest.fixture(scope="session")
def tiny(small_talk_folder) -> dict:
    """Parameters of a cell that trains in seconds: 60,000 parameters on small talk."""
    return {"profile": "quick", "dataset": str(small_talk_folder), "total_params": 60_000, "vocab_size": 320, "tokens": 40_960,
            "seq_len": 32, "batch_tokens": 1024, "probes": 8, "probe_tokens": 1024, "embed_share": 0.35, "tolerance": 0.02,
            "device": "cpu", "early_stop": "off"}


@pytest.fixture(scope="session")
def tiny_corpus(tiny, tmp_path_factory):
    from paramalloc.data import prepare

    return prepare(tiny["dataset"], tiny["vocab_size"], tmp_path_factory.mktemp("outputs"))
