"""The pages for readers: their generated parts are up to date, and what they name exists."""

import re

import pytest

from paramalloc.cli import main
from paramalloc.config import ROOT
from paramalloc.report.readmes import BLOCKS, GENERATED, PAGES, fill

PROSE = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PROSE}
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PLACES = "notebooks|params|paramalloc|tests|outputs/reference"


def name_of(page) -> str:
    return str(page.relative_to(ROOT))


def code_of(text: str) -> str:
    """The fences and the code spans of a page, a line each."""
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    return "\n".join([*FENCE.findall(text), *spans])


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- generated parts


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_docs_changes_nothing(page):
    """Pages agree with the published tables, sweeps, profiles and docstrings. Else: `make docs`."""
    assert fill(TEXTS[page]) == TEXTS[page]


def test_every_block_stands_on_one_page():
    named = [name for text in TEXTS.values() for name in GENERATED.findall(text)]
    assert sorted(named) == sorted(BLOCKS)


def test_every_number_of_the_answer_is_generated():
    [section] = re.findall(
        r"^## The answer so far$(.*?)^## ", TEXTS[ROOT / "README.md"], re.DOTALL | re.MULTILINE
    )
    assert not re.findall(r"\d", GENERATED.sub("", section))
    assert re.findall(r"\d", section)


# ---- the first page


def test_the_first_page_is_short():
    """At most 900 words, and the first command after about a hundred."""
    text = TEXTS[ROOT / "README.md"]
    assert len(text.split()) <= 900
    assert len(text[: text.index("```\nmake ")].split()) <= 100


# ---- what the pages name


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", TEXTS[page])
    for link in links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_path_exists(page):
    """Paths from the root, and in a folder's page those from its folder; no placeholders."""
    code = code_of(TEXTS[page])
    paths = re.findall(rf"(?<![\w/.<])(?:{PLACES})/[\w./-]+", code)
    paths += re.findall(r"^[a-z_]+/[a-z_/]+\.(?:py|yaml|md)$", code, re.MULTILINE)
    for path in paths:
        places = [ROOT / path, ROOT / f"{path}.ipynb", page.parent / path]
        assert "NAME" in path or any(place.exists() for place in places), path


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_path_of_a_tree_exists(page):
    """In a fence that begins with a folder; what lies under a placeholder is not looked at."""
    for fence in FENCE.findall(TEXTS[page]):
        lines = fence.splitlines()
        if not re.match(r"\w+/\s", lines[0]):
            continue
        folder = page.parent
        for line in lines:
            path = line.split()[0]
            if not line.startswith(" "):
                folder = page.parent / path
                assert folder.is_dir(), path
            else:
                assert (folder / path).exists(), f"{folder.name}/{path}"


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_make_target_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code_of(TEXTS[page]))) <= targets


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_command_exists(page, capsys):
    commands = re.findall(r"(?<!from )(?<![\w/-])paramalloc ([a-z]+)", code_of(TEXTS[page]))
    for command in set(commands):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0, command
