"""Where a run comes from: the commit, said or known, and versions without metadata."""

import subprocess

import pytest

from paramalloc.errors import ConfigError
from paramalloc.packages import package_version
from paramalloc.runs import current_commit, provenance, say_commit

SAID = "0123456789ab"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout with one commit, in place of the repository."""
    words = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x"]
    for command in (["init", "-q"], [*words, "--allow-empty"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.delenv(provenance.COMMIT_VARIABLE, raising=False)
    return tmp_path


def without_git(checkout, monkeypatch):
    """A folder of the checkout that is a project of its own."""
    (checkout / "inner").mkdir()
    monkeypatch.setattr(provenance, "ROOT", checkout / "inner")


def test_the_commit_of_a_checkout_around_the_code_is_not_its_own(checkout, monkeypatch):
    assert len(current_commit()) == 12
    without_git(checkout, monkeypatch)
    assert current_commit() is None


def test_a_commit_is_said_where_git_does_not_know_it(checkout, monkeypatch):
    """Processes that are started inherit it."""
    without_git(checkout, monkeypatch)
    monkeypatch.setenv(provenance.COMMIT_VARIABLE, "")  # set back after the test
    say_commit(f"{SAID}-dirty")
    assert current_commit() == f"{SAID}-dirty"


def test_git_is_not_contradicted(checkout, monkeypatch):
    monkeypatch.setenv(provenance.COMMIT_VARIABLE, "")
    with pytest.raises(ConfigError, match=f"git says .*: leave out --commit {SAID}"):
        say_commit(SAID)
    say_commit(current_commit())


@pytest.mark.parametrize("text", ["main", "0123", "0123456789AB", f"{SAID}-x", f"{SAID}\n"])
def test_a_commit_has_a_form(text):
    with pytest.raises(ConfigError, match="not of the form"):
        say_commit(text)


def test_a_version_without_metadata_is_the_codes_own(monkeypatch):
    """None where the code does not say it either."""
    monkeypatch.setattr("sys.modules", {"there": type("Module", (), {"__version__": "1.2"})})
    assert package_version("there") == "1.2"
    assert package_version("nowhere") is None
