"""report.html in headless Chromium with the network cut: it asks for nothing, answers the mouse and the keys, and everybody can read it."""

import os
import re
import subprocess
import sys

import pytest
from analysis_fixtures import study

from paramalloc.config import ROOT
from paramalloc.runs import as_csv

pytestmark = pytest.mark.browser
SHOTS = os.environ.get(
    "SHOTS"
)  # a folder that keeps the screenshots, for whoever wants to look at them
HOSTILE = 'x</script><script>document.title = "owned"</script>'
CHARTS = 14  # of a study without the arms that no run belongs to


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """report.html as `paramalloc report` writes it, over the record of a study on a corpus with a hostile name."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.csv").write_text(as_csv(study().assign(dataset=HOSTILE)))
    words = (
        "from paramalloc.cli import main; main()",
        "report",
        str(folder / "study.csv"),
        "--outputs",
        str(folder),
    )
    subprocess.run(
        [sys.executable, "-c", *words],
        cwd=ROOT,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return folder / "reports" / "study" / "report.html"


@pytest.fixture
def opened(browser, report):
    """Opens the report: every request but the first is refused and noted, and so is what the console says."""
    pages = []

    def open_(**options):
        page = browser.new_context(
            **{"viewport": {"width": 1200, "height": 900}} | options
        ).new_page()
        page.set_default_timeout(90_000)  # other work may hold the cores
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.route(
            "**/*",
            lambda route: (
                route.continue_() if route.request.url == report.as_uri() else refuse(page, route)
            ),
        )
        page.goto(report.as_uri())
        pages.append(page)
        return page

    yield open_
    for page in pages:
        page.context.close()


def refuse(page, route):
    if not route.request.url.startswith("data:"):
        page.asked.append(route.request.url)
    route.abort() if not route.request.url.startswith("data:") else route.continue_()


def draw_all(page):
    """Unfold everything, and wait until every chart is drawn."""
    page.evaluate("document.querySelectorAll('details.more').forEach((fold) => (fold.open = true))")
    page.wait_for_function(
        "() => [...document.querySelectorAll('figure.chart')].every((figure) => figure.classList.contains('drawn'))",
        polling=100,
    )


def keep(page, name):
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/report_{name}.png", full_page=True)


def figure(page, title):
    return page.locator("figure.chart", has_text=title).first


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_asks_for_nothing_and_reports_no_error(opened, scheme):
    """All charts are drawn from the file alone, without `eval`, in both colour schemes; a script in a corpus' name does not run."""
    page = opened(color_scheme=scheme)
    draw_all(page)
    keep(page, scheme)
    assert page.locator("figure.drawn").count() == CHARTS
    assert page.asked == [] and page.said == []
    assert "owned" not in page.title()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = (
        figure(page, "good and fast to train")
        .locator(".mark-text text")
        .first.evaluate("e => getComputedStyle(e).fill")
    )
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ground, ink)]
    assert (brightness[0] > brightness[1]) == (scheme == "light") and abs(
        brightness[0] - brightness[1]
    ) > 300


def test_a_mark_tells_its_numbers(opened):
    """The pointer on a square of the map brings up a table of its cell, with the interval."""
    page = opened()
    draw_all(page)
    figure(page, "lowest dev loss").locator(".mark-text text").first.hover(force=True)
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for(timeout=5000)
    assert (
        re.search(r"95 % interval\s*\[5\.\d+, 5\.\d+\]", tooltip.inner_text())
        and "learning rate" in tooltip.inner_text()
    )
    keep(page, "tooltip")


@pytest.mark.parametrize("how", ["click", "Enter"])
def test_a_legend_entry_singles_out(opened, how):
    """A click on `worse`, or Enter on it, fades the other verdicts; a second one brings them back."""
    page = opened()
    draw_all(page)
    chart = figure(page, "more than noise")
    faded = "e => [...e.querySelectorAll('.mark-symbol.role-mark path')].filter((mark) => +(mark.getAttribute('opacity') ?? 1) < 0.5).length"
    entry = chart.locator('[aria-label="Single out worse"]')
    act = (
        (lambda: entry.click())
        if how == "click"
        else (lambda: (entry.focus(), page.keyboard.press("Enter")))
    )
    assert chart.evaluate(faded) == 0
    act()
    page.wait_for_timeout(200)
    assert chart.evaluate(faded) > 0
    act()
    page.wait_for_timeout(200)
    assert chart.evaluate(faded) == 0


def test_the_numbers_behind_a_chart_unfold(opened):
    """Each chart has a table, which its summary opens from the keyboard."""
    page = opened()
    chart = figure(page, "lowest dev loss")
    chart.locator("summary").focus()
    page.keyboard.press("Enter")
    assert chart.locator("table tbody tr").count() == 12 and chart.locator("table").is_visible()


def test_a_small_screen_scrolls_down_only(opened):
    """At 420 pixels nothing is wider than the screen but what scrolls within itself, and charts keep letters of 10 pixels and more."""
    page = opened(viewport={"width": 420, "height": 850})
    draw_all(page)
    keep(page, "narrow")
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    sizes = page.evaluate(
        "[...document.querySelectorAll('.live svg text')].map((text) => parseFloat(getComputedStyle(text).fontSize))"
    )
    assert min(sizes) >= 10
    wide = page.evaluate(
        "[...document.querySelectorAll('.live svg')].filter((svg) => svg.clientWidth > 420).length"
    )
    assert wide == 1  # the three panels of the learning curves


def test_paper_shows_the_still_pictures(opened, tmp_path):
    """In print everything folded is open, pictures are the still ones on white, and no page is empty."""
    page = opened(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    stills = page.locator("figure.chart img.still")
    assert stills.count() == CHARTS and all(still.is_visible() for still in stills.all())
    assert not any(live.is_visible() for live in page.locator(".live").all())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('main')).color") == "rgb(0, 0, 0)"
    pdf = page.pdf(path=f"{SHOTS}/report.pdf" if SHOTS else tmp_path / "report.pdf", format="A4")
    assert pdf.startswith(b"%PDF") and 4 <= len(re.findall(rb"/Type ?/Page\b", pdf)) <= 12


def test_without_scripts_the_still_pictures_are_there(opened):
    """Who forbids scripts sees every chart and can open its numbers."""
    page = opened(java_script_enabled=False)
    assert figure(page, "lowest dev loss").locator("img.still").is_visible()
    assert page.locator("figure.chart img.still").count() == CHARTS


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, scheme):
    """The rules of axe-core, contrast included: no serious and no critical violation, everything unfolded."""
    from axe_playwright_python.sync_playwright import Axe

    page = opened(color_scheme=scheme)
    draw_all(page)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    found = Axe().run(page).response["violations"]
    serious = [
        (rule["id"], rule["nodes"][0]["html"][:200], len(rule["nodes"]))
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert serious == []
