"""`paramalloc evaluate`: measure a finished run again."""

import json
import sys

from tqdm import tqdm

from ..config import ROOT
from .options import add_command, add_outputs, add_run, named_values, number_option


def add_evaluate(commands) -> None:
    parser = add_command(
        commands,
        "evaluate",
        run_evaluate,
        "Measure a finished run again: perplexity and SmallBench.",
        "Prints the measurements as JSON and keeps them in the run's folder. SmallBench from "
        "before stays where a set is not at hand. `paramalloc time` measures its speeds.",
    )
    add_run(parser)
    add_outputs(parser)
    parser.add_argument(
        "--smallbench",
        metavar="NAME",
        help="full, quick or off (default: as the run was trained).",
    )
    parser.add_argument(
        "--smallbench-data",
        metavar="FOLDER",
        help="Folder that holds SmallBench's sets, or hub (default: as the run was trained).",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda or cuda:N (default: as the run was trained).",
    )
    parser.add_argument(
        "--stride",
        metavar="N",
        help="Tokens between the starts of two windows; fewer give each token more context. With "
        "it only perplexities are measured, and nothing is kept.",
    )


def run_evaluate(arguments) -> None:
    from ..evaluation import measure_again
    from ..runs import LIST_COLUMNS, MEASURED, TimeLeft, describe_stage, find_run, read_json

    folder = find_run(arguments.run, ROOT / arguments.outputs)
    stride = number_option(arguments, "stride", int)
    options = named_values(arguments, ("smallbench", "smallbench_data", "device"))
    changes = {name: value for name, value in options.items() if value}

    # Measure, with a line on a terminal that says how far it is.
    time_left = TimeLeft()
    bar = tqdm(bar_format="{desc}", disable=not sys.stderr.isatty(), leave=False)

    def show(stage: str, fraction: float) -> None:
        bar.set_description_str(describe_stage(stage, fraction, time_left(stage, fraction)))

    result = measure_again(folder, stride, show, **changes)
    bar.close()

    # Print what was measured, and what could not be.
    names = [name for name in result if name in MEASURED and name not in LIST_COLUMNS]
    print(json.dumps({name: result[name] for name in names}, indent=1))
    if not stride:
        evaluation = read_json(folder / "evaluation.json")
        for name, reason in evaluation.get("missing", {}).items():
            print(f"paramalloc: without {name}: {reason}", file=sys.stderr)
        if "kept" in evaluation:
            kept = f"SmallBench stays as measured before: {evaluation['kept']}"
            print(f"paramalloc: {kept}", file=sys.stderr)
