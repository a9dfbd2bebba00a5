"""Keep the finished runs outside of the outputs folder, so that they outlive their machine."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ..errors import UserError
from ..runs import as_csv, load_runs, runs_to_restore, write_archive, write_text


@dataclass
class Keeper:
    """Writes all finished runs of `outputs`, whichever sweep trained them.

    `table`: a results.csv of them. `archive`: a folder with their small files, an archive for each
    seed. Every file is written beside its place and renamed.
    """

    outputs: Path
    table: Path | None = None
    archive: Path | None = None
    archived: dict[int, list[tuple[str, int]]] = field(default_factory=dict)  # by seed

    def begin(self) -> None:
        """Make the folders and write what is finished already.

        UserError where that fails, or where a run would be lost: one that was kept there and is not
        in `outputs`.
        """
        if self.table and self.table.is_dir():
            raise UserError(f"--table {self.table} is a folder: name a file")
        try:
            if self.table:
                _make(self.table.parent)
                self._refuse_loss(self.table, self.table.exists() and self.table.stat().st_size > 0)
            if self.archive:
                _make(self.archive)
                self._refuse_loss(self.archive, any(self.archive.glob("*.zip")))
            self._write()
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}"
            raise UserError(f"cannot keep finished runs: {reason}") from None

    def _refuse_loss(self, path: Path, is_used: bool) -> None:
        lost = runs_to_restore(path, self.outputs) if is_used else []
        if lost:
            raise UserError(
                f"{path} holds {len(lost)} finished runs that {self.outputs} lacks: "
                f"`paramalloc restore {path} --outputs {self.outputs}` puts them back first"
            )

    def keep(self) -> None:
        """Write everything again. What goes wrong is said and ends no sweep."""
        if not (self.table or self.archive):
            return
        try:
            self._write()
        except Exception as error:
            reason = " ".join(str(error).split())
            tqdm.write(f"finished runs are not kept: {reason}; they are in {self.outputs}")

    def _write(self) -> None:
        """Write all runs; again if another sweep has finished one meanwhile."""
        finished: set[Path] = set()
        while finished != (now := set(self.outputs.glob("runs/*/result.json"))):
            finished = now
            runs = load_runs(self.outputs)
            self._write_table(runs)
            self._write_archives(runs)

    def _write_table(self, runs: pd.DataFrame) -> None:
        if self.table and len(runs):
            write_text(self.table, as_csv(runs))

    def _write_archives(self, runs: pd.DataFrame) -> None:
        """Write the archives of the seeds that have a new result."""
        if not self.archive:
            return
        for seed, rows in runs.dropna(subset=["run_id"]).groupby("seed"):
            folders = [self.outputs / "runs" / run_id for run_id in rows.run_id]
            times = [(path.name, (path / "result.json").stat().st_mtime_ns) for path in folders]
            if self.archived.get(int(seed)) != times:
                write_archive(self.archive / f"seed-{int(seed)}.zip", folders)
                self.archived[int(seed)] = times


def _make(folder: Path) -> None:
    """Make a folder, and a file in it for a moment; OSError where nothing can be written."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="."):
        pass
