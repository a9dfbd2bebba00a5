"""`paramalloc status` names every run's state, how far it is, and why one failed."""

import pytest
import yaml

from paramalloc.cli import main
from paramalloc.data import prepare
from paramalloc.runs import Run
from paramalloc.sweep import load_sweep, status_table
from paramalloc.sweep.status import reason_of


@pytest.fixture
def plan(tiny, tmp_path):
    """A sweep of five cells, prepared, nothing trained; the last one is invalid."""
    path = tmp_path / "five.yaml"
    path.write_text(
        yaml.safe_dump({"axes": {"embed_share": [0.2, 0.25, 0.3, 0.35, 0.97]}, "parameters": tiny})
    )
    sweep = load_sweep(str(path), outputs=str(tmp_path))
    return path, sweep, prepare(tiny["dataset"], tiny["vocab_size"], tmp_path)


def test_every_state_is_named(plan, tmp_path, capsys):
    """Completed, running with its holder and time left, interrupted, failed and why, impossible."""
    path, sweep, corpus = plan
    cells = {cell.parameters["embed_share"]: cell for cell in sweep.cells}
    run = {
        share: Run(cell.config, corpus.fingerprint) for share, cell in cells.items() if cell.config
    }
    with run[0.3].held():
        run[0.3].begin({"tokens": 40_960})
        run[0.3].finish({"status": "completed", "dev_ppl": 7.5})
    with run[0.2].held():
        run[0.2].begin({"tokens": 40_960})
        run[0.2].record(tokens=1024, dev_ppl=99.0)
    log = sweep.log(cells[0.25], [run[0.25]])
    log.parent.mkdir(parents=True)
    log.write_text(
        "Traceback\nparamalloc.errors.OutOfMemory: "
        "out of memory with batch_tokens 1024: batch_tokens 512 should fit\n"
    )
    with run[0.35].held():
        run[0.35].begin({"tokens": 40_960})
        run[0.35].record(tokens=20_480, dev_ppl=12.0, tokens_per_s=2048.0)
        rows = status_table(tmp_path, sweep).set_index("cell")
    state = {share: rows.state[cells[share].name] for share in cells}
    assert state == {
        0.3: "completed",
        0.35: "running",
        0.2: "interrupted",
        0.25: "failed (memory)",
        0.97: "failed (config)",
    }
    running = rows.loc[cells[0.35].name]
    assert running.left == 10
    assert running["dev ppl"] == 12.0
    assert running["where"].startswith("process ")
    assert main(["status", str(path), "--outputs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for words in (
        "batch_tokens 512 should fit",
        "again: papermill",
        "-p embed_share 0.25",
        "2 interrupted",
    ):
        assert words in text
    assert main(["status", "--outputs", str(tmp_path)]) == 0
    assert "1 completed" in capsys.readouterr().out
    assert main(["status", "--outputs", str(tmp_path / "none")]) == 0
    assert "no runs yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, reason",
    [
        ("nbclient.exceptions.DeadKernelError: Kernel died", "killed"),
        ("Interrupted: run x was interrupted at step 3", "killed"),
        ("paramalloc.errors.ConfigError: glu must be", "config"),
        ("OSError: [Errno 28] No space left on device", "infrastructure"),
        ("ImportError: cannot import", "infrastructure"),
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", "memory"),
    ],
)
def test_the_kind_of_a_failure(tmp_path, text, reason):
    path = tmp_path / "log"
    path.write_text(f"Executing notebook\n{text}\n")
    assert reason_of(path) == reason
