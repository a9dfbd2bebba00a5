"""Every sentence of the published report that states a number is recomputed from its results.csv.

The numbers come from tests/recomputed.py, the sentences from tests/statements*.py; none of it
shares code with paramalloc. A sentence with a number that no statement recomputes fails: a new
sentence needs its statement.
"""

import re

import pytest
from agreement import agrees
from recomputed import Study
from statements import CLAIMS, own_rates
from statements_of_methods import CIRCUMSTANCES
from statements_of_order import orders

from paramalloc import report
from paramalloc.config import ROOT
from paramalloc.runs import read_results

FOLDER = ROOT / "outputs" / "reference"
# A level is chosen, not measured: a sentence with no other number states none.
LEVELS = re.compile(
    r"\b(95 % (CIs?|confidence|of differences)|intervals of 95 %|power 80 %|at 5 %|the 5 % level"
    r"|within 1 %)"
)
# Who made the report, not what it is made of.
REPORTER = ("this report was made by", "at commit", "with: paramalloc", "under Python")


def sentences_of(markdown: str) -> list[str]:
    """The sentences outside of tables, those of pictures included, without markup."""
    sentences = []
    for line in markdown.splitlines():
        if line.startswith(("|", "<")):
            continue
        text = re.sub(r"^!\[(.*)\]\(\S+\)$", r"\1", line)
        text = re.sub(r"^(- |#+ )", "", text).replace("**", "").replace("\\", "")
        sentences += re.split(r"(?<=[.?!]) (?=[A-Z0-9`])", text)
    return sentences


def numbered(markdown: str) -> list[str]:
    """Those that state a number."""
    sentences = [each for each in sentences_of(markdown) if not each.startswith(REPORTER)]
    return [each for each in sentences if re.search(r"\d", LEVELS.sub("", each))]


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(FOLDER / "results.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> str:
    """RESULTS.md as the present code writes it, without pictures."""
    folder = tmp_path_factory.mktemp("report")
    report.write_results(read_results(FOLDER / "results.csv"), {}, folder, "make published")
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


# ---- the tests


@pytest.fixture(scope="module")
def statements(study) -> list[str]:
    return [statement for state in (*CLAIMS, *CIRCUMSTANCES, orders) for statement in state(study)]


def unproven(markdown: str, statements: list[str]) -> list[str]:
    return [
        sentence
        for sentence in numbered(markdown)
        if not any(agrees(statement, sentence) for statement in statements)
    ]


def test_every_number_that_the_report_would_state_is_recomputed(made, statements):
    assert len(numbered(made)) > 40
    assert unproven(made, statements) == []


def test_every_number_of_the_published_report_is_recomputed(statements):
    """Pictures and their texts included. Else: `make published`."""
    assert unproven((FOLDER / "RESULTS.md").read_text(encoding="utf-8"), statements) == []


def test_every_statement_is_made(made, statements):
    """What is recomputed stands in the report: nothing is left of an older one."""
    sentences = numbered(made)
    assert [each for each in statements if not any(agrees(each, told) for told in sentences)] == []


@pytest.mark.parametrize(
    "name, block", [("README.md", "answer"), ("params/README.md", "own_rates")]
)
def test_every_number_of_a_page_is_recomputed(name, block, study, statements):
    """What `make docs` writes of the grid into pages. Else: `make docs`."""
    page = (ROOT / name).read_text(encoding="utf-8")
    [text] = re.findall(rf"<!-- generated: {block} -->\n(.*?)<!-- end -->", page, re.DOTALL)
    told = re.sub(r" \(\[\w+\]\(\S+\)\)", "", " ".join(text.split()))
    count = f"{len(study.may_be_best)} of {study.n_cells} cells may be the best at this noise."
    assert len(numbered(told)) > 4
    assert unproven(told, [*statements, *own_rates(study), count]) == []


def test_a_saddle_names_no_optimum(made, study):
    """A surface that curves downwards somewhere has no lowest point within."""
    assert study.curvatures.min() < 0 < study.curvatures.max()
    assert "No optimum is reported" in made


def test_a_wrong_number_is_found(made, statements):
    """The first digit of any number of any sentence changed: no statement agrees."""
    for sentence in numbered(made):
        for match in re.finditer(r"\d[\d.,]*", sentence):
            wrong = str((int(match[0][0]) + 5) % 10)
            changed = sentence[: match.start()] + wrong + sentence[match.start() + 1 :]
            assert unproven(changed, statements) or not numbered(changed), changed
