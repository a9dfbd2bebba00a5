"""The command line, as a user types it."""

import argparse
import errno
import json
import subprocess
import sys

import pytest
import yaml

from paramalloc.allocation import allocate
from paramalloc.cli import main
from paramalloc.cli.options import find_from_here
from paramalloc.config import ROOT

COMMANDS = [
    "allocate",
    "sweep",
    "status",
    "time",
    "report",
    "evaluate",
    "export",
    "pack",
    "restore",
    "recommend",
]


def test_help_lists_the_commands(capsys):
    """Each with its line."""
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {command}" in text for command in COMMANDS)


def test_a_missing_command_names_all_of_them(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.endswith(f"required: {' | '.join(COMMANDS)}")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_sentences(command, capsys):
    """A description and a help for every argument; each begins with its command's usage."""
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and text.startswith(f"usage: paramalloc {command} ")
    _, description, *arguments = text.strip().split("\n\n")
    assert description.endswith(".") and all(block.endswith((".", "exit")) for block in arguments)


def test_the_package_is_a_command():
    """`python -m` does what the command does where it is not installed."""
    words = [sys.executable, "-m", "paramalloc", "allocate", "--glu", "abc"]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "--glu" in done.stderr


def test_a_missing_package_is_one_line(monkeypatch, capsys):
    """It is named, with what installs it; a module of our own that is missing is no such thing."""

    def fail(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("paramalloc.cli.export.run_export", lambda _: fail("yaml.nodes"))
    assert main(["export", "run", "folder"]) == 2
    assert capsys.readouterr().err == ("paramalloc: this command needs yaml: pip install pyyaml\n")
    monkeypatch.setattr("paramalloc.cli.export.run_export", lambda _: fail("paramalloc.nothing"))
    with pytest.raises(ModuleNotFoundError):
        main(["export", "run", "folder"])


@pytest.mark.parametrize("arguments", [["allocate"], ["status", "--outputs", "none"]])
def test_commands_that_need_no_torch_do_not_wait_for_it(arguments):
    """Allocating and looking at runs begin at once."""
    run = "import sys; from paramalloc.cli import main; main(sys.argv[1:])"
    code = f"{run}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True)


def test_allocate_prints_shape_and_costs(capsys):
    """The answer of `allocate`, itemised, with what it costs."""
    assert main(["allocate", "--total-params", "10e6", "--embed-share", "0.35"]) == 0
    shown = capsys.readouterr().out
    assert "11 layers of width 224, 4 heads of 56, d_ff 568" in shown and "9,995,552" in shown
    assert "67.5M per token, causal attention (75.1M with the full score matrix)" in shown


def test_allocate_grid_prints_the_twelve_cells(capsys):
    """Requested and realised values of every cell of params/grid.yaml."""
    assert main(["allocate", "--grid"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 13 and "requested share" in lines[0]
    assert all(
        f"{allocate(10**7, 0.45, glu, 16_000).params['total']:,}" in "".join(lines[10:])
        for glu in (2.66, 3.0, 4.0)
    )


def test_allocate_json_is_the_whole_ledger(capsys):
    """One object, or a list where there are several; the numbers are those of `allocate`."""
    request = ["--embedding", "factorized", "--d-model", "288", "--n-layers", "6"]
    assert main(["allocate", "--json", *request]) == 0
    found = json.loads(capsys.readouterr().out)
    same = allocate(10**7, 0.35, 2.66, 16_000, "factorized", d_model=288, n_layers=6)
    assert found["params"] == same.params and found["model"]["d_embed"] == same.model.d_embed
    assert set(found) >= {"embed_share", "glu", "flops_per_token", "memory_bytes", "roofline"}
    assert main(["allocate", "--json", "--best", "3"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--glu", "abc"], "--glu must be a number, not 'abc'"),
        (["--embed-share", "0.9"], "the nearest embed_share that fits is 0.78"),
        (["--hardware", "abacus"], "unknown hardware 'abacus': known are H200 SXM"),
        (["--seq-len", "0"], "must be at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(arguments, message, capsys):
    """On standard error, and nothing on standard output."""
    assert main(["allocate", *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and not said.out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere"], "unknown sweep 'nowhere'"),
        (["nowhere.csv"], "there is no file"),
        (["grid", "--profile", "large"], "unknown profile 'large'"),
        (["--name", "../../paper"], "no folder under reports"),
        (["--name", "/paper"], "no folder under reports"),
        (["--name", "a/../.."], "no folder under reports"),
        (["--name", "."], "no folder under reports"),
        (["--name", "漢" * 90], "270 bytes"),
    ],
)
def test_a_report_of_nothing_known_is_refused_before_a_kernel_starts(
    arguments, message, capsys, monkeypatch
):
    """In one line, and nothing is executed."""
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a kernel was started"))
    assert main(["report", *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and not said.out


@pytest.mark.parametrize(
    "words, instead",
    [([], "--notebooks off"), (["--engine", "papermill"], "--engine pool")],
)
def test_without_papermill_a_sweep_says_so_before_it_trains(
    tmp_path, capsys, monkeypatch, words, instead
):
    """One line with the way around it; nothing is made."""
    monkeypatch.setattr("paramalloc.packages.find_spec", lambda name: None)
    outputs = tmp_path / "o"
    assert main(["sweep", "grid", "--profile", "quick", "--outputs", str(outputs), *words]) == 2
    assert f"pip install papermill ipykernel; or {instead}" in capsys.readouterr().err
    assert not outputs.exists()


def test_a_dataset_that_is_not_there_fails_its_cells_and_repeats_nothing(tiny, tmp_path, capsys):
    """Exit status 1, the reason once, not the one that says that the same command goes on."""
    path = tmp_path / "none.yaml"
    content = {"axes": {"glu": [2.0, 3.0]}, "parameters": tiny | {"dataset": str(tmp_path / "no")}}
    path.write_text(yaml.safe_dump(content))
    words = ["sweep", str(path), "--outputs", str(tmp_path / "o"), "--deadline", "1h"]
    assert main([*words, "--notebooks", "off"]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("no such file") == printed.out.count("no such file") == 1
    assert "failed: glu-2.0" in printed.err and "; glu-3.0" in printed.err
    assert "not begun" not in printed.out


@pytest.mark.parametrize("command", ["sweep", "restore"])
def test_outputs_that_cannot_be_written_are_one_line(command, tiny, tmp_path, capsys):
    """It names the place, and what to do."""
    (tmp_path / "file").touch()
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"axes": {"seed": [0]}, "parameters": tiny}))
    sources = {"sweep": f"{tmp_path}/one.yaml", "restore": "outputs/reference/quick/results.csv"}
    outputs = f"{tmp_path}/file/o"
    assert main([command, sources[command], "--outputs", outputs]) == 2
    said = capsys.readouterr().err.splitlines()
    assert outputs in said[-1] and not any("Traceback" in line for line in said)


def test_an_error_that_nobody_foresaw_is_shown_whole(monkeypatch):
    """Only what a disk or rights do to a command is one line."""

    def fail(_):
        raise OSError(errno.EBADF, "our mistake")

    monkeypatch.setattr("paramalloc.cli.export.run_export", fail)
    with pytest.raises(OSError, match="our mistake"):
        main(["export", "run", "folder"])


def test_a_path_means_what_is_there_where_it_was_typed(tiny, tmp_path, monkeypatch, capsys):
    """Of sweeps, corpora and tables; else the repository, and known names stay names."""
    for name in ("mine", "other+", "builtin", "grid", "wikitext-2"):
        (tmp_path / name).mkdir()
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"axes": {"seed": [0]}, "parameters": tiny}))
    monkeypatch.chdir(tmp_path)
    typed = "mine+other++builtin+wikitext-2+nowhere/else+params"
    arguments = argparse.Namespace(sweep="grid", dataset=typed, runs="s.yaml+params/grid.yaml")
    find_from_here(arguments)
    here = str(tmp_path)
    found = f"{here}/mine+{here}/other++builtin+wikitext-2+nowhere/else+params"
    assert arguments.sweep == "grid" and arguments.dataset == found
    assert arguments.runs == f"{here}/s.yaml+params/grid.yaml"
    assert main(["status", "s.yaml", "--outputs", here]) == 0
    assert main(["status", "t.yaml", "--outputs", here]) == 2
