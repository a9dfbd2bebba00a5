"""How a notebook is executed: by this interpreter, with every parameter as it is."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from paramalloc.sweep.engines import as_yaml, papermill_command

NAMES = ["📚 books", "𠮷野家", "a\x7fb\x85c", "q\"u\\o'te", "tab\tline\n", "é语e\u0301", "\u2028"]


@pytest.mark.parametrize("name", NAMES)
def test_text_reaches_papermill_as_it_is(name):
    """Emoji and rare letters are one character each, whatever reads the YAML."""
    parameters = {"dataset": name, "lr": [1e-3, 0.3], "compile": None, "seed": 0}
    text = as_yaml(parameters)
    assert yaml.safe_load(text) == parameters and text.isascii()


def test_a_notebook_runs_in_this_interpreter_and_any_folder(tmp_path):
    """A kernel that the user has called python3 is not started, wherever Jupyter finds it first."""
    home = tmp_path / "home"
    data = home / ".local" / "share" / "jupyter"
    spec = {"argv": ["/usr/bin/false"], "display_name": "Python 3", "language": "python"}
    (data / "kernels" / "python3").mkdir(parents=True)
    (data / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    folder = tmp_path / "😀 𠮷"
    folder.mkdir()
    source, target = folder / "in.ipynb", folder / "out.ipynb"
    first = new_code_cell('dataset = ""', metadata={"tags": ["parameters"]})
    second = new_code_cell("import sys\nprint([sys.executable, dataset])")
    about = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(new_notebook(cells=[first, second], metadata=about), source)
    user = {"HOME": str(home), "JUPYTER_PATH": str(data), "JUPYTER_PREFER_ENV_PATH": "0"}
    command = papermill_command(source, target, {"dataset": str(folder)})
    subprocess.run(command, check=True, env=os.environ | user, capture_output=True)
    printed = nbformat.read(target, 4).cells[-1].outputs[0].text
    assert printed.strip() == str([sys.executable, str(folder)])
