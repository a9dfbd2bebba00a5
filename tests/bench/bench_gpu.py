"""What a GPU gives this project, in about three minutes: one table, and JSON beside it.

    python tests/bench/bench_gpu.py [FILE.json] [--parts profile,graph] [--seconds 180] [--tiny]

Each part is a process with a limit of its own. What one measured is kept if it fails or is stopped,
or if all of this is: FILE is written anew after each, and FILE.parts has the rows and the output of
each as they come. On a CPU only `--tiny` makes sense: it shows that all of it runs. Needs torch,
numpy and what `paramalloc.training` imports; the parts are in gpu_parts.py. Whether to train with
graphs at all is what `check` and `paths` say.

    compile    seconds to the first step of three shapes, four processes at once, a cold cache
    check      100 steps with one seed: twice one by one, once as a graph, probed on the way
    paths      tiny runs with a graph: two shapes, stopped and resumed, a recording that fails
    graph      steps launched one by one against the whole step as one CUDA graph, three shapes
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
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMITS = {  # seconds; each later part needs what compile leaves in the cache
    "compile": 90,
    "check": 30,
    "paths": 40,
    "graph": 40,
    "profile": 25,
    "variants": 30,
    "processes": 45,
    "streams": 25,
    "stages": 45,
}


def main(arguments: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = {"arguments": sys.argv[1:], "parts": {}, "rows": []}
    try:
        run_parts(arguments, report)
    except KeyboardInterrupt:
        sys.exit("interrupted: FILE has what was measured")
    finally:
        print_table(report)


def run_parts(arguments: argparse.Namespace, report: dict) -> None:
    began = time.perf_counter()
    for part in arguments.parts:
        left = arguments.seconds - (time.perf_counter() - began)
        if left < 5:
            report["parts"][part] = {"ended": "left out: no time left"}
            print(f"\n{part}: left out, no time left", flush=True)
            write(report, arguments.file)
        else:
            run_part(part, min(LIMITS[part], left), arguments, report)


def run_part(part: str, limit: float, arguments: argparse.Namespace, report: dict) -> None:
    """Run a part in a process group of its own; what it measured goes into the report and FILE."""
    print(f"\n{part} (at most {limit:.0f} s)", flush=True)
    start = time.perf_counter()
    folder = arguments.file.with_name(arguments.file.name + ".parts")
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / f"{part}.jsonl"
    rows.unlink(missing_ok=True)
    log = folder / f"{part}.log"
    ended = "interrupted"
    try:
        ended = call(part, rows, log, limit, arguments)
    finally:
        seconds = round(time.perf_counter() - start, 1)
        add_part(report, part, ended, seconds, read_rows(rows), log.read_text(errors="replace"))
        write(report, arguments.file)


def add_part(
    report: dict, part: str, ended: str, seconds: float, rows: list[dict], output: str
) -> None:
    """Add to the report what a part measured, and print it."""
    for row in rows:
        report["rows"].append({"part": part} | row)
        print("  " + describe(row))
    for line in output.splitlines():
        if line.startswith("graph:"):  # why a step could not be recorded
            print("  " + line)
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
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"stopped after {limit:.0f} s"
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
    with suppress(subprocess.TimeoutExpired):  # a driver may hold a process for long
        process.wait(10)


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
    parser.add_argument("--seconds", type=float, default=180.0, help="for all parts together")
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
