"""`paramalloc status` names every run's state, how far it is, and why one failed."""

import pytest
import yaml

from paramalloc.cli import main
from paramalloc.data import prepare
from paramalloc.runs import Run
from paramalloc.runs.flags import describe_early_stop
from paramalloc.sweep import describe_flags, format_status, load_sweep, status_table
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


def test_what_is_measured_is_told(plan, tmp_path):
    """The stage of a run after its last step, how far it is and how long it still takes; only as
    long as a process holds the run.
    """
    _, sweep, corpus = plan
    run = Run(sweep.cells[0].config, corpus.fingerprint)
    with run.held():
        run.begin({"tokens": 40_960})
        (run.folder / "checkpoint" / "final").mkdir(parents=True)
        [before] = status_table(tmp_path).to_dict("records")
        run.note(stage="perplexity of dev", fraction=0.4, time_left_s=12.0)
        [row] = status_table(tmp_path).to_dict("records")
    assert before["state"] == row["state"] == "measuring"
    assert row["where"] == before["where"] + ": perplexity of dev 40%"
    assert row["left"] == 12
    assert "0:00:12" in format_status(status_table(tmp_path).assign(left=row["left"]))
    [after] = status_table(tmp_path).to_dict("records")
    assert after["state"] == "interrupted" and after["where"] is None


def test_a_flag_is_shown_as_soon_as_the_curves_give_one(plan, tmp_path):
    """Of a run in training and of a finished one, and counted once the baseline is there."""
    path, _, corpus = plan
    sweep = load_sweep(str(path), outputs=str(tmp_path), early_stop="flag")
    configs = {cell.parameters["embed_share"]: cell.config for cell in sweep.cells}
    runs = {share: Run(configs[share], corpus.fingerprint) for share in (0.2, 0.25, 0.3, 0.35)}

    def begin(share: float, loss: float, probes: int) -> dict:
        about = describe_early_stop(configs[share], corpus.fingerprint)
        runs[share].begin(about | {"tokens": 40_960})
        counts = [(n + 1) * 5_120 for n in range(probes)]
        for tokens in counts:
            runs[share].record(tokens=tokens, dev_loss=loss, dev_ppl=2.0)
        return about | {"dev_curve": [[tokens, loss] for tokens in counts]}

    def finish(share: float, result: dict):
        runs[share].finish(result | {"run_id": runs[share].id, "status": "completed"})

    with runs[0.2].held(), runs[0.25].held(), runs[0.3].held():
        finish(0.2, begin(0.2, 3.0, 8))
        begin(0.25, 3.0, 6)
        finish(0.3, begin(0.3, 1.0, 8))
        before = status_table(tmp_path, sweep)
        assert before["flagged at"].isna().all() and "flagged at" not in format_status(before)
        assert describe_flags(sweep) == (
            "early stop would have ended 0 of the 0 runs it compared; "
            "2 have no baseline to compare with yet"
        )
        with runs[0.35].held():
            finish(0.35, begin(0.35, 1.0, 8))
        after = status_table(tmp_path, sweep)
    expected = 5_120 + 4 * 5_120  # from the first probe on, four of patience
    assert list(after["flagged at"].dropna()) == [expected, expected]
    assert set(after.run[after["flagged at"].notna()]) == {runs[0.2].id, runs[0.25].id}
    assert format_status(after).count(f"{expected:,}") == 2
    assert describe_flags(sweep) == "early stop would have ended 1 of the 2 runs it compared"


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
