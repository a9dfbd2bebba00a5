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
SHOTS = os.environ.get("SHOTS")  # a folder for screenshots, for whoever wants to look at them

# Whether an element has a label: its own, that of its widget, or its text.
IS_LABELLED = """e => {
    const label = e.closest('.jupyter-widgets').querySelector('label');
    return !!(e.labels?.length || label?.innerText || e.innerText);
}"""


@pytest.fixture(scope="module")
def lab(root, tmp_path_factory):
    """The address of a JupyterLab that serves copies of the notebooks, with settings of its own."""
    home = tmp_path_factory.mktemp("lab")
    notebooks_only = shutil.ignore_patterns("*.py", ".*")
    shutil.copytree(root / "notebooks", home / "notebooks", ignore=notebooks_only)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR")
    settings = dict.fromkeys(folders, str(home / "settings"))
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
    """Shape, chart and command follow a slider that is moved from the keyboard."""
    page = open_and_run(browser, lab, "explore.ipynb")
    page.locator(".widget-hbox svg").first.wait_for(timeout=90_000)
    explorer = page.locator(".widget-hbox", has=page.locator("svg")).first
    explorer.scroll_into_view_if_needed()

    def shown():
        """The texts of table, chart and command."""
        return (
            explorer.locator("table").inner_text(),
            explorer.locator("svg").inner_html(),
            explorer.locator("textarea").input_value(),
        )

    def wait_for_share(share):
        command = "document.querySelector('.widget-hbox textarea').value"
        page.wait_for_function(
            f"() => {command}.includes('-p embed_share {share}')", timeout=20_000
        )

    before = shown()
    assert "11 layers of width 224" in before[0] and "-p embed_share 0.35" in before[2]
    keep(page, "explorer")
    share = explorer.locator(".widget-slider", has_text="embedding share").get_by_role("slider")
    share.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    wait_for_share(0.45)
    after = shown()
    assert "6 layers of width 280" in after[0]
    assert all(one != other for one, other in zip(before, after, strict=True))

    explorer.get_by_role("button", name="Pin this allocation").click()
    explorer.get_by_role("button", name="Unpin").wait_for()
    share.focus()
    page.keyboard.press("ArrowLeft")
    wait_for_share(0.44)
    assert "pinned" in shown()[0] and "pinned" in shown()[1]
    explorer.get_by_role("slider").first.scroll_into_view_if_needed()
    keep(page, "explorer_pinned")

    for control in explorer.locator("input, select, textarea, [role=slider], button").all():
        if control.is_visible():
            assert control.evaluate(IS_LABELLED)
            assert control.evaluate("e => e.tabIndex >= 0")
    page.close()


def test_a_training_draws_its_loss_as_it_goes(browser, lab, tiny, tmp_path, root):
    """While the train notebook runs, JupyterLab shows a bar with the time left and the loss curve.

    The training would take many minutes, so that a slow page has drawn before it is over. Then its
    kernel is ended.
    """
    given = tiny | {"outputs": str(tmp_path), "tokens": 30_720_000, "probes": 1000}
    upload(lab, "live.ipynb", with_parameters(root / "notebooks" / "train.ipynb", given))
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


def with_parameters(path, given):
    """A notebook with the cell that papermill would inject."""
    notebook = json.loads(path.read_text())
    lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in given.items())]
    cell = {
        "cell_type": "code",
        "id": "given",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": "\n".join(lines),
    }
    tags = [cell["metadata"].get("tags", []) for cell in notebook["cells"]]
    [at] = [i for i, names in enumerate(tags) if "parameters" in names]
    notebook["cells"].insert(at + 1, cell)
    return notebook


def upload(lab, name, notebook):
    body = json.dumps({"type": "notebook", "format": "json", "content": notebook}).encode()
    kind = {"Content-Type": "application/json"}
    urlopen(Request(f"{lab}/api/contents/{name}?token=t", body, kind, method="PUT"))
