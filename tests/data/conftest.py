"""A prepared corpus that the tests of this folder share."""

import pytest
from data_fixtures import folder

from paramalloc.data import Corpus, prepare


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Corpus:
    path = tmp_path_factory.mktemp("corpus")
    return prepare(str(folder(path / "stories")), 300, path)
