"""What a GPU gives this project, in about three minutes: one table, and JSON beside it.

    python tests/bench/bench_gpu.py [FILE.json] [--parts profile,graph] [--seconds 300] [--tiny]

Each part is a process with a limit of its own. What one measured is kept if it fails or is stopped,
and FILE is written anew after each. On a CPU only `--tiny` makes sense: it shows that all of it
runs. Needs torch, numpy and what `paramalloc.training` imports; the parts are in gpu_parts.py.

    compile    seconds to the first step of three shapes, four processes at once, a cold cache
    graph      steps launched one by one against the whole step as one CUDA graph, three shapes
    check      100 steps with one seed: twice one by one, once as a graph
    profile    one step of 224 x 11: kernels, how busy the GPU is, the largest; the card's ceilings
    variants   the same step without mix-order reductions; attention by flash and by cuDNN
    processes  one to three runs at once in processes of their own
    streams    one to four runs at once in one process
    stages     seconds of starting, of compiling from a warm cache, and of measuring a run

The compile cache (TORCHINDUCTOR_CACHE_DIR) is left filled: what trains these shapes next starts
warm. With `--corpus FOLDER` (a prepared corpus) `stages` trains and measures a run of it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMITS = {  # seconds
    "compile": 150,
    "graph": 90,
    "check": 60,
    "profile": 60,
    "variants": 75,
    "processes": 75,
    "streams": 60,
    "stages": 100,
}
UNDER_WAY = []  # the process that is measured


def main(arguments: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, lambda *_: stop_and_leave())
    began = time.perf_counter()
    report = {"arguments": sys.argv[1:], "parts": {}, "rows": []}
    for part in arguments.parts:
        left = arguments.seconds - (time.perf_counter() - began)
        if left < 5:
            report["parts"][part] = {"ended": "left out: no time left"}
            print(f"\n{part}: left out, no time left", flush=True)
        else:
            run_part(part, min(LIMITS[part], left), arguments, report)
        write(report, arguments.file)
    print_table(report)


def run_part(part: str, limit: float, arguments: argparse.Namespace, report: dict) -> None:
    """Run a part in a process group of its own; what it measured goes into the report."""
    print(f"\n{part} (at most {limit:.0f} s)", flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        log = Path(folder) / "log.txt"
        ended = call(part, rows, log, limit, arguments)
        found = read_rows(rows)
        output = log.read_text(errors="replace")
    for row in found:
        report["rows"].append({"part": part} | row)
        print("  " + describe(row))
    for line in output.splitlines():
        if line.startswith("graph:"):  # why a step could not be recorded
            print("  " + line)
    seconds = round(time.perf_counter() - start, 1)
    report["parts"][part] = {"ended": ended, "seconds": seconds}
    if ended != "done":
        last = [line for line in output.splitlines() if line.strip()][-1:]
        report["parts"][part]["log"] = output[-4000:]
        print(f"  {part} {ended}: {' '.join(last)[:300]}")
    print(f"  {seconds} s", flush=True)


def call(part: str, rows: Path, log: Path, limit: float, arguments: argparse.Namespace) -> str:
    """How the process of a part ended."""
    command = [sys.executable, str(HERE / "gpu_parts.py"), part, str(rows)]
    command += ["--tiny"] * arguments.tiny
    if arguments.corpus:
        command += ["--corpus", str(Path(arguments.corpus).resolve())]
    defaults = {"TORCHINDUCTOR_COMPILE_THREADS": "4", "OMP_WAIT_POLICY": "PASSIVE"}
    environment = defaults | os.environ
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONPATH": search_path()}
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        UNDER_WAY[:] = [process]
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"stopped after {limit:.0f} s"
        except KeyboardInterrupt:
            stop_and_leave()
        finally:
            stop(process)
    return "done" if code == 0 else f"failed ({code})"


def search_path() -> str:
    """PYTHONPATH with this clone in front."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([str(HERE.parents[1]), *filter(None, given)])


def stop(process: subprocess.Popen) -> None:
    """End a part with all the processes it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stop_and_leave() -> None:
    for process in UNDER_WAY:
        stop(process)
    sys.exit("interrupted: FILE has the parts before this one")


# -------------------------------------------------------------------- report


def read_rows(path: Path) -> list[dict]:
    """The rows that a part wrote; a last line that is torn is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def write(report: dict, file: Path) -> None:
    """Write beside, then rename: FILE is whole at any time."""
    beside = file.with_name(file.name + ".part")
    beside.write_text(json.dumps(report, indent=1) + "\n")
    beside.replace(file)


def print_table(report: dict) -> None:
    print("\n" + "=" * 100)
    for part, about in report["parts"].items():
        print(f"{part}: {about['ended']}")
        for row in report["rows"]:
            if row["part"] == part:
                print("  " + describe(row))
    sys.stdout.flush()


def describe(row: dict) -> str:
    """A row as a line: what, its value and unit, what was predicted, a remark."""
    value = row.get("value")
    if value is None:
        text = "-"
    elif isinstance(value, float):
        text = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    else:
        text = str(value)
    line = f"{row['what'][:64]:64} {text:>12} {row.get('unit', ''):12}"
    if row["predicted"]:
        line += f" predicted {row['predicted']}"
    if row["remark"]:
        line += f" ({row['remark']})"
    return line.rstrip()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, default=Path("bench_gpu.json"))
    parser.add_argument("--parts", type=parse_parts, default=list(LIMITS))
    parser.add_argument("--seconds", type=float, default=300.0, help="for all parts together")
    parser.add_argument("--corpus", help="the folder of a prepared corpus, for `stages`")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, on a CPU too")
    return parser.parse_args()


def parse_parts(text: str) -> list[str]:
    parts = text.split(",")
    for part in parts:
        if part not in LIMITS:
            raise argparse.ArgumentTypeError(
                f"unknown part '{part}': there are {', '.join(LIMITS)}"
            )
    return parts


if __name__ == "__main__":
    main(parse_arguments())
