"""report.html in Chromium, the network cut: it asks for nothing, and everybody can use it."""

import os
import re
import subprocess
import sys

import pytest
from analysis_fixtures import study

from paramalloc.config import ROOT
from paramalloc.runs import as_csv

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("SHOTS")  # a folder that keeps the screenshots
HOSTILE = 'x</script><script>document.title = "owned"</script>'
CHARTS = 15  # of a study without the arms that no run belongs to

UNFOLD = "document.querySelectorAll('details.more').forEach((fold) => (fold.open = true))"
UNFOLD_ALL = UNFOLD.replace("details.more", "details")
ALL_DRAWN = """() => [...document.querySelectorAll('figure.chart')]
    .every((figure) => figure.classList.contains('drawn'))"""
N_FADED = """e => [...e.querySelectorAll('.mark-symbol.role-mark path')]
    .filter((mark) => +(mark.getAttribute('opacity') ?? 1) < 0.5).length"""
LETTERS = """[...document.querySelectorAll('.live svg text')]
    .map((text) => parseFloat(getComputedStyle(text).fontSize))"""
N_WIDE = """[...document.querySelectorAll('.live svg')]
    .filter((svg) => svg.clientWidth > 420).length"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """report.html as `paramalloc report` writes it, of a study on a corpus with a hostile name."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.csv").write_text(as_csv(study().assign(dataset=HOSTILE)))
    code = "from paramalloc.cli import main; main()"
    arguments = ["report", str(folder / "study.csv"), "--outputs", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, env=environment)
    return folder / "reports" / "study" / "report.html"


@pytest.fixture
def opened(browser, report):
    """Opens the report: every other request is refused and noted, and so is the console's text."""
    pages = []

    def open_page(**options):
        options = {"viewport": {"width": 1200, "height": 900}} | options
        page = browser.new_context(**options).new_page()
        page.set_default_timeout(90_000)  # other work may hold the cores
        page.messages, page.requested = [], []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.route("**/*", lambda route: answer(page, route, report.as_uri()))
        page.goto(report.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()


def answer(page, route, address: str):
    """Let the report itself and what it carries through; note and refuse everything else."""
    url = route.request.url
    if url == address or url.startswith("data:"):
        route.continue_()
    else:
        page.requested.append(url)
        route.abort()


def draw_all(page):
    """Unfold everything, and wait until every chart is drawn."""
    page.evaluate(UNFOLD)
    page.wait_for_function(ALL_DRAWN, polling=100)


def keep(page, name):
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/report_{name}.png", full_page=True)


def figure(page, title):
    return page.locator("figure.chart", has_text=title).first


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_asks_for_nothing_and_reports_no_error(opened, scheme):
    """All charts are drawn from the file alone; a script in a corpus' name does not run."""
    page = opened(color_scheme=scheme)
    draw_all(page)
    keep(page, scheme)
    assert page.locator("figure.drawn").count() == CHARTS
    assert page.requested == []
    assert page.messages == []
    assert "owned" not in page.title()
    ground = brightness(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    label = figure(page, "good and fast to train").locator(".mark-text text").first
    ink = brightness(label.evaluate("e => getComputedStyle(e).fill"))
    assert (ground > ink) == (scheme == "light")
    assert abs(ground - ink) > 300


def brightness(colour: str) -> int:
    """The sum of red, green and blue."""
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


def test_a_mark_tells_its_numbers(opened):
    """The pointer on a square of the map brings up a table of its cell, with the interval."""
    page = opened()
    draw_all(page)
    figure(page, "lowest dev loss").locator(".mark-text text").first.hover(force=True)
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for(timeout=5000)
    text = tooltip.inner_text()
    assert re.search(r"95 % CI over seeds\s*\[5\.\d+, 5\.\d+\]", text)
    assert "learning rate" in text
    keep(page, "tooltip")


@pytest.mark.parametrize("how", ["click", "Enter"])
def test_a_legend_entry_singles_out(opened, how):
    """A click on `worse`, or Enter on it, fades the other verdicts; a second brings them back."""
    page = opened()
    draw_all(page)
    chart = figure(page, "more than noise")
    entry = chart.locator('[aria-label="Single out worse"]')

    def act():
        if how == "click":
            entry.click()
        else:
            entry.focus()
            page.keyboard.press("Enter")
        page.wait_for_timeout(200)

    assert chart.evaluate(N_FADED) == 0
    act()
    assert chart.evaluate(N_FADED) > 0
    act()
    assert chart.evaluate(N_FADED) == 0


def test_the_numbers_behind_a_chart_unfold(opened):
    """Each chart has a table, which its summary opens from the keyboard."""
    page = opened()
    chart = figure(page, "lowest dev loss")
    chart.locator("summary").focus()
    page.keyboard.press("Enter")
    assert chart.locator("table tbody tr").count() == 12
    assert chart.locator("table").is_visible()


def test_a_small_screen_scrolls_down_only(opened):
    """At 420 pixels nothing is wider but what scrolls within itself; letters stay legible."""
    page = opened(viewport={"width": 420, "height": 850})
    draw_all(page)
    keep(page, "narrow")
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    assert min(page.evaluate(LETTERS)) >= 10  # pixels
    assert page.evaluate(N_WIDE) == 1  # the three panels of the learning curves


def test_tables_fit_a_thousand_pixels(opened):
    """No table in the open is wider than its box, and no status takes more than two lines."""
    page = opened(viewport={"width": 1000, "height": 900})
    draw_all(page)
    boxes = page.locator("main > .scroll, main > div > .scroll")
    assert boxes.count() >= 4
    for box in boxes.all():
        assert box.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    lines = "e => e.clientHeight / parseFloat(getComputedStyle(e).lineHeight)"
    cells = page.locator(".scroll[aria-label='What the cells are, and how they ended']")
    statuses = cells.locator("td.text").all()
    assert len(statuses) == 12
    assert all(status.evaluate(lines) < 3 for status in statuses)


def test_paper_shows_the_still_pictures(opened, tmp_path):
    """In print folds are open, pictures are the still ones on white, and no page is empty."""
    page = opened(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    stills = page.locator("figure.chart img.still")
    assert stills.count() == CHARTS
    assert all(still.is_visible() for still in stills.all())
    assert not any(live.is_visible() for live in page.locator(".live").all())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('main')).color") == "rgb(0, 0, 0)"
    pdf = page.pdf(path=f"{SHOTS or tmp_path}/report.pdf", format="A4")
    assert pdf.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type ?/Page\b", pdf)) <= 12


def test_without_scripts_the_still_pictures_are_there(opened):
    """Who forbids scripts sees every chart and can open its numbers."""
    page = opened(java_script_enabled=False)
    assert figure(page, "lowest dev loss").locator("img.still").is_visible()
    assert page.locator("figure.chart img.still").count() == CHARTS


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, scheme):
    """By axe-core's rules, contrast included, everything unfolded."""
    from axe_playwright_python.sync_playwright import Axe

    page = opened(color_scheme=scheme)
    draw_all(page)
    page.evaluate(UNFOLD_ALL)
    violations = Axe().run(page).response["violations"]
    serious = [rule for rule in violations if rule["impact"] in ("serious", "critical")]
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in serious] == []
