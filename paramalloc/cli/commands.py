"""The command line, thin: `paramalloc allocate | sweep | status | report | evaluate | export | restore | recommend`."""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from ..allocation import HARDWARE, comparison, k_best
from ..config import ROOT, as_number, cuda_available, load_yaml
from ..errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Run one command. A user's mistake is one line on standard error and exit status 2."""
    arguments = parser().parse_args(argv)
    for name in ("SIGTERM", "SIGHUP"):  # they end like Ctrl-C: children first
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        return arguments.command(arguments) or 0
    except UserError as error:
        print(f"paramalloc: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "paramalloc: interrupted; what is finished is kept, and the same command goes on from there",
            file=sys.stderr,
        )
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="paramalloc", description="Split a parameter budget, train the cells, report."
    )
    commands = top.add_subparsers(
        required=True,
        metavar="allocate | sweep | status | report | evaluate | export | restore | recommend",
    )

    allocate = commands.add_parser(
        "allocate", help="the shape for a budget, and where its parameters are"
    )
    for name, (default, what) in REQUEST.items():
        allocate.add_argument(
            "--" + name.replace("_", "-"),
            default=default,
            help=f"{what} (default {default})" if default else what,
        )
    allocate.add_argument(
        "--seq-len", default=512, help="tokens of context, for FLOPs and memory (default 512)"
    )
    allocate.add_argument(
        "--batch-tokens",
        default=32_768,
        help="tokens in memory at a time when training (default 32768)",
    )
    allocate.add_argument(
        "--hardware", default="H100 SXM", help=f"for the roofline: {', '.join(HARDWARE)}"
    )
    allocate.add_argument("--best", default=1, help="print so many of the best shapes")
    allocate.add_argument(
        "--grid", action="store_true", help="the cells of params/grid.yaml at this budget"
    )
    allocate.add_argument("--json", action="store_true", help="machine-readable")
    allocate.set_defaults(command=run_allocate)

    sweep = commands.add_parser("sweep", help="train the cells of a sweep that are not finished")
    sweep.add_argument("sweep", help="a YAML file, or the name of one in params/")
    sweep.add_argument(
        "--jobs",
        default=1,
        help="cells at a time, which share the cores; auto is one a core, at most 8, and one on a GPU (default 1)",
    )
    sweep.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes of this machine, or Ray (default local)",
    )
    sweep.add_argument(
        "--address",
        default="",
        help="of a Ray cluster to join, or auto; without it one is started on this machine",
    )
    sweep.add_argument(
        "--cpus-per-cell", default=1, help="cores that a cell gets on Ray (default 1)"
    )
    sweep.add_argument(
        "--gpus-per-cell",
        help="GPUs that a cell gets on Ray, such as 0.5 (default 1 where there are any)",
    )
    sweep.add_argument(
        "--dry-run",
        action="store_true",
        help="only tell what would be trained, and what it would take on this machine",
    )
    sweep.add_argument(
        "--yes", action="store_true", help="start what takes more than an hour without a GPU"
    )
    sweep.add_argument(
        "--seed",
        default="",
        help="replaces the sweep's seeds, such as 0 or 0,1: one after the other for all cells",
    )
    sweep.add_argument("--early-stop", default="", help="replaces the sweep's: kill, flag or off")
    sweep.add_argument(
        "--smallbench", default="", help="replaces the profile's: full, quick or off"
    )
    sweep.add_argument(
        "--smallbench-data", default="", help="folder that holds SmallBench's sets, or hub"
    )
    report = commands.add_parser(
        "report", help="execute the analysis notebook; write RESULTS.md and report.html"
    )
    report.add_argument("sweep", nargs="?", default="", help="a sweep; without it, all runs")
    report.add_argument(
        "--name",
        default="",
        help="folder under outputs/reports (default: the sweep's name, or all)",
    )
    export = commands.add_parser("export", help="a run as a Hugging Face folder")
    export.add_argument("run", help="a run's folder or id")
    export.add_argument("folder", help="a new folder")
    export.add_argument("--outputs", default="outputs", help="where runs are looked for by id")
    export.set_defaults(command=run_export)
    status = commands.add_parser(
        "status", help="what runs where and how far it is, what failed and why"
    )
    status.add_argument("sweep", nargs="?", default="", help="a sweep; without it, all runs")
    status.add_argument(
        "--watch", action="store_true", help="again every two seconds, until Ctrl-C"
    )
    evaluate = commands.add_parser(
        "evaluate", help="measure a finished run again: perplexity, SmallBench, inference cost"
    )
    evaluate.add_argument("run", help="a run's folder or id")
    evaluate.add_argument("--outputs", default="outputs", help="where runs are looked for by id")
    evaluate.add_argument(
        "--smallbench", help="full, quick or off (default: as in the run's parameters)"
    )
    evaluate.add_argument(
        "--smallbench-data",
        help="folder that holds the sets, or hub (default: as in the run's parameters)",
    )
    evaluate.add_argument(
        "--device", help="auto, cpu, cuda or cuda:N (default: as in the run's parameters)"
    )
    evaluate.add_argument(
        "--stride",
        help="tokens between windows: only perplexities, with so much more context; nothing is kept",
    )
    evaluate.set_defaults(command=run_evaluate)
    restore = commands.add_parser(
        "restore", help="put the runs of a results.csv back, so that sweeps do not train them again"
    )
    restore.add_argument("table", help="a results.csv")
    restore.add_argument("--outputs", default="outputs", help="folder that holds the runs")
    restore.set_defaults(command=run_restore)
    recommend = commands.add_parser(
        "recommend", help="the shape for a budget, from what the finished runs measured"
    )
    recommend.add_argument("--total-params", required=True, help=REQUEST["total_params"][1])
    recommend.add_argument("--vocab-size", required=True, help=REQUEST["vocab_size"][1])
    recommend.add_argument("--max-ms", help="at most so many milliseconds to decode a token")
    recommend.add_argument("--max-flops", help="at most so many training FLOPs per token")
    recommend.add_argument(
        "--runs",
        default="",
        help="a sweep, several joined by +, or a results.csv (default: all runs)",
    )
    recommend.add_argument("--outputs", default="outputs", help="folder that holds the runs")
    recommend.add_argument("--json", action="store_true", help="machine-readable")
    recommend.set_defaults(command=run_recommend)
    for command, run in ((sweep, run_sweep), (status, run_status), (report, run_report)):
        command.add_argument(
            "--profile",
            default="",
            help="replaces the sweep's profile: auto, quick, reference or study",
        )
        command.add_argument(
            "--dataset", default="", help="replaces the sweep's dataset: a name, a folder or a file"
        )
        command.add_argument(
            "--outputs", default="outputs", help="folder of everything that is written"
        )
        command.set_defaults(command=run)
    return top


REQUEST = {
    "total_params": ("10_000_000", "parameters in all (10e6 and 10_000_000 are the same)"),
    "embed_share": ("0.35", "share of the embedding in all parameters"),
    "glu": ("2.66", "d_ff / d_model"),
    "vocab_size": ("16_000", "tokens in the vocabulary"),
    "embedding": ("tied", "tied, untied or factorized"),
    "mlp": ("swiglu", "swiglu, or relu2 (no gate)"),
    "tolerance": ("0.005", "how far the total may be from total_params, as a fraction"),
    "multiple": ("8", "d_model, d_ff, d_head and d_embed are multiples of this"),
    "d_model": (None, "width, kept as given"),
    "n_layers": (None, "depth, kept as given"),
    "n_heads": (None, "attention heads"),
    "n_kv_heads": (None, "key and value heads (grouped-query attention)"),
    "d_head": (None, "width of a head"),
    "d_ff": (None, "width of the MLP, kept as given"),
    "d_embed": (None, "width of a factorized embedding's table, kept as given"),
}


def run_allocate(arguments):
    kinds = {"embed_share": float, "glu": float, "tolerance": float, "embedding": str, "mlp": str}
    given = {
        name: getattr(arguments, name) for name in REQUEST if getattr(arguments, name) is not None
    }
    option = lambda name, value, kind: (
        value if kind is str else as_number("--" + name.replace("_", "-"), value, kind)
    )
    given = {name: option(name, value, kinds.get(name, int)) for name, value in given.items()}
    costs = (
        option("seq_len", arguments.seq_len, int),
        option("batch_tokens", arguments.batch_tokens, int),
        arguments.hardware,
    )
    if arguments.hardware not in HARDWARE:
        raise UserError(f"unknown hardware '{arguments.hardware}': known are {', '.join(HARDWARE)}")
    if min(costs[:2]) < 1:
        raise UserError("--seq-len and --batch-tokens must be at least 1")
    best = option("best", arguments.best, int)
    axes = load_yaml(ROOT / "params" / "grid.yaml")["axes"] if arguments.grid else {}
    points = [given | dict(zip(axes, values)) for values in itertools.product(*axes.values())]
    found = [shape for point in points for shape in k_best(best, **point)]
    if arguments.json:
        details = [shape.details(*costs) for shape in found]
        print(json.dumps(details if arguments.grid or best != 1 else details[0], indent=1))
    elif len(found) > 1:
        print(comparison(found, *costs).to_string(index=False))
    else:
        print(found[0], *(f"{name:15}{value}" for name, value in found[0].costs(*costs)), sep="\n")


def run_sweep(arguments) -> int:
    from .. import sweep
    from ..sweep import engines

    given = ("profile", "dataset", "outputs", "seed", "early_stop", "smallbench", "smallbench_data")
    plan = sweep.load_sweep(arguments.sweep, **{name: getattr(arguments, name) for name in given})
    auto = 1 if plan.config.device != "cpu" and cuda_available() else min(8, engines.cores())
    jobs = auto if arguments.jobs == "auto" else as_number("--jobs", arguments.jobs, int)
    if jobs < 1:
        raise UserError(f"--jobs must be at least 1 or auto, not {jobs}")
    if arguments.dry_run:
        print(planned(plan, jobs))
        return 0
    long_without_gpu(plan, arguments.yes)
    print(
        f"{plan.name}: {len(plan.cells)} cells, profile {plan.config.profile}, {plan.config.tokens:,} tokens a run"
    )
    engine = ray_engine(arguments) if arguments.engine == "ray" else engines.Local(jobs)
    try:
        failed = sweep.execute_sweep(plan, engine)
    finally:
        engine.close()
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def ray_engine(arguments):
    from ..sweep import OnRay

    gpus = (
        None
        if arguments.gpus_per_cell is None
        else as_number("--gpus-per-cell", arguments.gpus_per_cell)
    )
    return OnRay.connect(
        arguments.address, as_number("--cpus-per-cell", arguments.cpus_per_cell), gpus
    )


def planned(plan, jobs: int) -> str:
    from ..sweep import predict_sweep
    from ..sweep import format_plan

    return format_plan(predict_sweep(plan, jobs), jobs, plan.config.output_folder)


def long_without_gpu(plan, agreed: bool):
    """A study that was started on a laptop by mistake would run for weeks: refused, unless that was meant."""
    from ..sweep import HOUR, rough_seconds

    if agreed or plan.config.device != "cpu" and cuda_available():
        return
    if (seconds := rough_seconds(plan)) > HOUR:
        raise UserError(
            f"sweep {plan.name} takes about {seconds / HOUR:,.0f} hours on this machine's CPU: add --yes to start it, or "
            "--dry-run to see what it would take"
        )


def run_status(arguments):
    from ..sweep import describe_failures, format_status, load_sweep, status_table

    given = ("profile", "dataset", "outputs")
    plan = (
        load_sweep(arguments.sweep, **{name: getattr(arguments, name) for name in given})
        if arguments.sweep
        else None
    )
    while True:
        text = format_status(status_table(ROOT / arguments.outputs, plan))
        print(
            "\033[2J\033[H" * arguments.watch + text,
            *(describe_failures(plan) if plan else []),
            sep="\n",
            flush=True,
        )
        if not arguments.watch:
            return
        time.sleep(2)


def run_report(arguments):
    from ..config import AnalysisConfig
    from ..sweep import last_line, papermill_command, select_runs

    name = arguments.name or (
        "+".join(Path(one).stem for one in arguments.sweep.split("+")) if arguments.sweep else "all"
    )
    folder = ROOT / arguments.outputs / "reports" / name
    parameters = {
        "runs": arguments.sweep,
        "dataset": arguments.dataset,
        "profile": arguments.profile,
        "name": name,
        "outputs": arguments.outputs,
    }
    select_runs(
        AnalysisConfig.from_dict(parameters)
    )  # a wrong name is told before anything slow is imported or started
    from ..report import write_html

    with tempfile.TemporaryDirectory() as scratch:
        notebook = Path(scratch) / "analysis.ipynb"
        done = subprocess.run(
            papermill_command(ROOT / "notebooks" / "analysis.ipynb", notebook, parameters),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise UserError(last_line(done.stderr))
        page = write_html(notebook, folder / "report.html")
    results = folder / "RESULTS.md"
    print(
        f"wrote {os.path.relpath(page)}"
        + (f" and {os.path.relpath(results)}" if results.exists() else "; there are no runs yet")
    )


def run_evaluate(arguments):
    from ..evaluation import measure_again
    from ..runs import LIST_COLUMNS, MEASURED, find_run, read_json

    folder = find_run(arguments.run, ROOT / arguments.outputs)
    stride = None if arguments.stride is None else as_number("--stride", arguments.stride, int)
    changes = {
        name: getattr(arguments, name)
        for name in ("smallbench", "smallbench_data", "device")
        if getattr(arguments, name)
    }
    stages = tqdm(bar_format="{desc}", disable=not sys.stderr.isatty(), leave=False)
    found = measure_again(
        folder,
        stride,
        lambda stage, fraction: stages.set_description_str(f"{stage} {fraction:.0%}"),
        **changes,
    )
    stages.close()
    print(
        json.dumps(
            {
                name: value
                for name, value in found.items()
                if name in MEASURED and name not in LIST_COLUMNS
            },
            indent=1,
        )
    )
    if not stride:
        for name, what in read_json(folder / "evaluation.json").get("missing", {}).items():
            print(f"paramalloc: without {name}: {what}", file=sys.stderr)


def run_export(arguments):
    from ..export import export_run

    folder = export_run(arguments.run, arguments.folder, arguments.outputs)
    print(
        f"wrote {os.path.relpath(folder)}: AutoModelForCausalLM.from_pretrained and AutoTokenizer.from_pretrained load it"
    )


def run_restore(arguments):
    from ..runs import restore_runs

    new, there = restore_runs(ROOT / arguments.table, ROOT / arguments.outputs)
    print(f"{len(new)} runs put back, {len(there)} were there: results and dev curves, no weights")


def run_recommend(arguments):
    from ..analysis import recommend
    from ..config import AnalysisConfig
    from ..sweep import select_runs

    kinds = {"total_params": int, "vocab_size": int, "max_ms": float, "max_flops": float}
    asked = {name: getattr(arguments, name) for name in kinds}
    asked = {
        name: None
        if value is None
        else as_number("--" + name.replace("_", "-"), value, kinds[name])
        for name, value in asked.items()
    }
    if wrong := [name for name, value in asked.items() if value is not None and value <= 0]:
        raise UserError(f"--{wrong[0].replace('_', '-')} must be above 0, not {asked[wrong[0]]:g}")
    found = recommend(
        select_runs(AnalysisConfig(runs=arguments.runs, outputs=arguments.outputs)), **asked
    )
    print(json.dumps(found.details(), indent=1) if arguments.json else found)
