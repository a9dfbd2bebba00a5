"""One archive with all that a sweep needs on a machine without a network: `paramalloc pack`.

    SWEEP/  run.sh         trains the sweep there
            paramalloc/  params/  notebooks/  pyproject.toml  LICENSE
            outputs/data/  the prepared corpora, with SmallBench's n-gram controls
            sets/          SmallBench's sets, where it is on
            finished.csv   the runs that are finished here, which are not trained again

Its bytes depend on what it holds and on nothing else.
"""

import gzip
import io
import os
import shlex
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .config import ROOT
from .data import SHIPPED, Corpus, Progress, as_shipped
from .errors import UserError
from .evaluation import load_sets, prepare_smallbench, set_files
from .runs import as_csv, as_frame, current_commit
from .sweep import Cell, Sweep, load_sweep, sweep_file

CORPUS_FILES = ("meta.json", "tokenizer.json", "train.bin", "valid.bin", "test.bin")
BESIDE = ("smallbench-*.safetensors", "trees-*.safetensors")  # beside a corpus, by SmallBench
CACHES = {"__pycache__", ".ipynb_checkpoints"}

Members = dict[str, bytes | Path]  # a file's place in the archive -> its content, or where that is
Prepared = list[tuple[Cell, Corpus]]  # the valid cells, each with its corpus

RUN_SH = r"""#!/usr/bin/env bash
# Trains the sweep {name} here, without a network. The same command goes on where it stopped.
#
#   bash run.sh [OUT] [ARGUMENT ...]
#
# OUT gets what is to be brought home for `paramalloc restore`: results.csv, and archives of the
# runs' small files (default: results, beside this file). Each ARGUMENT goes to `paramalloc sweep`,
# such as --deadline 9m. It needs Python 3.11 or newer (PYTHON names another than python3) with
# torch, numpy, pandas, scipy, tokenizers, safetensors, pyyaml and tqdm.
set -euo pipefail
here=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)
out=$here/results
if [ $# -gt 0 ] && [ "${{1#-}}" = "$1" ]; then
    out=$1
    shift
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

# The code here, and none that is installed or lies where this is called from.
export PYTHONPATH="$here${{PYTHONPATH:+:$PYTHONPATH}}" PYTHONSAFEPATH=1
paramalloc=("${{PYTHON:-python3}}" -m paramalloc)
if [ -f "$here/finished.csv" ]; then
    "${{paramalloc[@]}}" restore "$here/finished.csv" --outputs "$here/outputs"
fi
exec "${{paramalloc[@]}}" sweep {words} \
    --outputs "$here/outputs" --smallbench-data "$here/sets" \
    --table "$out/results.csv" --archive "$out/archives" "$@"
"""


@dataclass(frozen=True)
class PackedSweep:
    """What goes into an archive; which sets of SmallBench do not, and why."""

    sweep: Sweep
    members: Members
    finished: int  # runs, of which the results go along
    missing: dict[str, str]

    def write(self, path: Path) -> int:
        """Write the archive, whole or not at all; its size in bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with open(made, "wb") as file:
                _write_tar(file, self.sweep.name, self.members)
            os.replace(made, path)
        finally:
            made.unlink(missing_ok=True)
        return path.stat().st_size


def _write_tar(file: BinaryIO, folder: str, members: Members) -> None:
    """A compressed tar archive, in which everything lies in one folder."""
    with (
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in sorted(members.items()):
            data = content if isinstance(content, bytes) else content.read_bytes()
            member = tarfile.TarInfo(f"{folder}/{name}")  # of no owner, in 1970
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def pack_sweep(source: str, words: list[str], progress: Progress, **overrides: str) -> PackedSweep:
    """All that a sweep needs. Its corpora are prepared here, where the text is.

    `overrides` are those of `load_sweep`. `words` are the arguments of `paramalloc sweep` there,
    besides the sweep, its profile, its commit and the folders. UserError where no cell is valid, a
    corpus cannot be prepared, or SmallBench's sets are not in one folder.
    """
    sweep = load_sweep(source, **overrides)
    profile = sweep.config.profile
    cells = [cell for cell in sweep.cells if cell.config]
    prepared = [(cell, sweep.corpora.prepare(cell.valid_config)) for cell in cells]
    sets, missing = _pack_sets(prepared, progress)
    name, code = _pack_code(source, sweep)
    members = code | sets | _pack_corpora(prepared)
    results = _finished_results(sweep, prepared)
    if results:
        members["finished.csv"] = as_csv(as_frame(results)).encode()
    members["run.sh"] = _run_script(sweep, [name, "--profile", profile, *words])
    return PackedSweep(sweep, members, len(results), missing)


def _run_script(sweep: Sweep, words: list[str]) -> bytes:
    if commit := current_commit():
        words = [*words, "--commit", commit]
    return RUN_SH.format(name=sweep.name, words=shlex.join(words)).encode()


def _pack_code(source: str, sweep: Sweep) -> tuple[str, Members]:
    """The sweep as the command there names it, and the code, with everything in params/."""
    members: Members = {}
    paths = [ROOT / "pyproject.toml", ROOT / "LICENSE", sweep.notebook]
    paths += [*(ROOT / "paramalloc").rglob("*"), *(ROOT / "params").rglob("*")]
    for path in paths:
        place = path.relative_to(ROOT)
        if path.is_file() and not CACHES & set(place.parts):
            members[place.as_posix()] = path
    file = sweep_file(source)
    if file == ROOT / "params" / file.name:
        return sweep.name, members
    name = f"sweeps/{file.name}"
    return name, members | {name: file}


def _pack_corpora(prepared: Prepared) -> Members:
    """The corpora with their controls, and which dataset means which of them."""
    members: Members = {}
    for corpus in {corpus.folder: corpus for _, corpus in prepared}.values():
        for path in corpus.folder.iterdir():
            if path.name in CORPUS_FILES or any(map(path.match, BESIDE)):
                members[f"outputs/data/{corpus.folder.name}/{path.name}"] = path
    pairs = [(cell.valid_config, corpus.folder.name) for cell, corpus in prepared]
    members[f"outputs/data/{SHIPPED}"] = as_shipped(pairs).encode()
    return members


def _pack_sets(prepared: Prepared, progress: Progress) -> tuple[Members, dict[str, str]]:
    """SmallBench's sets, with the reason for each that is missing; counts its controls."""
    measured = [pair for pair in prepared if pair[0].valid_config.smallbench != "off"]
    folders = {cell.valid_config.smallbench_data for cell, _ in measured}
    if not folders:
        return {}, {}
    if len(folders) > 1 or "hub" in folders:
        raise UserError(
            f"SmallBench's sets are in {' and '.join(sorted(folders))}: name one folder "
            "(--smallbench-data), or leave it out (--smallbench off)"
        )
    folder = ROOT / folders.pop()
    sets, missing = load_sets(str(folder))
    for cell, corpus in measured:
        prepare_smallbench(corpus, sets, cell.valid_config, progress)
    paths = set_files(folder)
    return {f"sets/{path.relative_to(folder).as_posix()}": path for path in paths}, missing


def _finished_results(sweep: Sweep, prepared: Prepared) -> list[dict]:
    """The results of the sweep's runs that are finished here, each once."""
    results = {}
    for cell, corpus in prepared:
        for stage in sweep.stages(cell, corpus):
            runs = stage.runs(corpus)
            results |= {run.id: run.result for run in runs if run.finished}
    return list(results.values())
