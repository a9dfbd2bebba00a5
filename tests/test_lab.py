"""The notebooks in a real JupyterLab, in headless Chromium: what moves there moves."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

pytestmark = pytest.mark.browser
SHOTS = os.environ.get(
    "SHOTS"
)  # a folder that keeps the screenshots, for whoever wants to look at them


@pytest.fixture(scope="module")
def lab(root, tmp_path_factory):
    """The address of a JupyterLab that serves copies of the notebooks, with settings of its own."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(
        root / "notebooks", home / "notebooks", ignore=shutil.ignore_patterns("*.py", ".*")
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        name: str(home / "settings")
        for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR")
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=t",
        f"--ServerApp.root_dir={home / 'notebooks'}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with open(home / "log", "w") as log:
        server = subprocess.Popen(
            command, env=os.environ | settings, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/api/status?token=t", server, home / "log")
            yield address
        finally:
            server.terminate()
            server.wait(30)


def wait_for(address, server, log):
    for _ in range(120):
        try:
            return urlopen(address, timeout=5)
        except (URLError, OSError):
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
    raise TimeoutError(log.read_text())


def open_and_run(browser, lab, name):
    """The page of a notebook whose cells are all running."""
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.goto(f"{lab}/lab/tree/{name}?token=t&reset")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return page


def keep(page, name):
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png")


def test_the_explorer_answers_the_arrow_keys(browser, lab):
    """Shape, chart and command follow a slider that is moved from the keyboard, within 200 ms of the kernel's own time."""
    page = open_and_run(browser, lab, "explore.ipynb")
    page.locator(".widget-hbox svg").first.wait_for(timeout=90_000)
    explorer = page.locator(".widget-hbox", has=page.locator("svg")).first
    explorer.scroll_into_view_if_needed()
    shown = lambda: (
        explorer.locator("table").inner_text(),
        explorer.locator("svg").inner_html(),
        explorer.locator("textarea").input_value(),
    )
    before = shown()
    assert "11 layers of width 224" in before[0] and "-p embed_share 0.35" in before[2]
    keep(page, "explorer")
    share = explorer.locator(".widget-slider", has_text="embedding share").get_by_role("slider")
    share.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "() => document.querySelector('.widget-hbox textarea').value.includes('-p embed_share 0.45')",
        timeout=20_000,
    )
    after = shown()
    assert "6 layers of width 280" in after[0]
    assert all(one != other for one, other in zip(before, after))

    explorer.get_by_role("button", name="Pin this allocation").click()
    explorer.get_by_role("button", name="Unpin").wait_for()
    share.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        "() => document.querySelector('.widget-hbox textarea').value.includes('-p embed_share 0.44')",
        timeout=20_000,
    )
    assert "pinned" in shown()[0] and "pinned" in shown()[1]
    explorer.get_by_role("slider").first.scroll_into_view_if_needed()
    keep(page, "explorer_pinned")

    for control in explorer.locator("input, select, textarea, [role=slider], button").all():
        if control.is_visible():
            assert control.evaluate(
                "e => !!(e.labels?.length || e.closest('.jupyter-widgets').querySelector('label')?.innerText || e.innerText)"
            )
            assert control.evaluate("e => e.tabIndex >= 0")
    page.close()


def test_a_training_draws_its_loss_as_it_goes(browser, lab, tiny, tmp_path, root):
    """While the train notebook runs, JupyterLab shows a bar with the time left and the loss so far as a curve. The training would take many
    minutes, so that a slow page has drawn before it is over; then its kernel is ended."""
    source = json.loads((root / "notebooks" / "train.ipynb").read_text())
    given = tiny | {"outputs": str(tmp_path), "tokens": 30_720_000, "probes": 1000}
    [at] = [
        i
        for i, cell in enumerate(source["cells"])
        if "parameters" in cell["metadata"].get("tags", [])
    ]
    injected = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    source["cells"].insert(
        at + 1,
        {
            "cell_type": "code",
            "id": "given",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": f"# Parameters\n{injected}",
        },
    )
    body = json.dumps({"type": "notebook", "format": "json", "content": source}).encode()
    urlopen(
        Request(
            f"{lab}/api/contents/live.ipynb?token=t",
            body,
            {"Content-Type": "application/json"},
            method="PUT",
        )
    )
    page = open_and_run(browser, lab, "live.ipynb")
    bar = page.locator("progress[max='30720000']").first
    bar.wait_for(timeout=120_000)
    line = page.locator(".jp-OutputArea-output", has=bar).first
    page.wait_for_function(
        "() => /tokens\\/s · \\d+:\\d\\d left/.test(document.body.innerText)", timeout=60_000
    )
    assert re.search(r"of 30,720,000 tokens · train loss \d\.\d+", line.inner_text())
    chart = page.locator(".jp-RenderedSVG").first
    chart.wait_for(timeout=60_000)
    chart.scroll_into_view_if_needed()
    keep(page, "live")
    assert 0 < int(bar.get_attribute("value")) < int(bar.get_attribute("max")), (
        "the curve came only when training was over"
    )
    page.close()
    for session in json.load(urlopen(f"{lab}/api/sessions?token=t")):
        urlopen(Request(f"{lab}/api/sessions/{session['id']}?token=t", method="DELETE"))
