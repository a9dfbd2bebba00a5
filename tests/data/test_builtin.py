"""The built-in corpus: enough prose, no duplicates, only what is always installed."""

import pytest

from paramalloc.data import builtin, prepare


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
    """The versions name Python and certain dependencies; no optional package is among them."""
    optional = {"transformers", "jupyterlab", "hypothesis", "pytest", "nbval"}
    assert not optional & builtin.versions().keys()
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
