"""`paramalloc recommend`: the shape for a budget, from finished runs."""

import json

from ..errors import UserError
from .allocate import REQUEST_OPTIONS
from .options import add_command, add_json, add_outputs, number_option, option_name

LIMITS = {"total_params": int, "vocab_size": int, "max_ms": float, "max_flops": float}


def add_recommend(commands) -> None:
    parser = add_command(
        commands,
        "recommend",
        run_recommend,
        "Recommend a shape for a budget, from what the finished runs measured.",
        "Says how sure it is, and how far the budget is from what was measured.",
    )
    for name in ("total_params", "vocab_size"):
        _, _, text = REQUEST_OPTIONS[name]
        parser.add_argument(option_name(name), required=True, metavar="N", help=f"{text}.")
    parser.add_argument(
        "--max-ms",
        metavar="X",
        help="Largest time to decode a token, in milliseconds (default: no limit).",
    )
    parser.add_argument(
        "--max-flops", metavar="X", help="Most training FLOPs per token (default: no limit)."
    )
    parser.add_argument(
        "--runs",
        default="",
        metavar="SWEEP",
        help="A sweep, several joined by +, or a results.csv (default: all runs).",
    )
    add_outputs(parser)
    add_json(parser)


def run_recommend(arguments) -> None:
    from ..analysis import recommend
    from ..config import AnalysisConfig
    from ..sweep import select_runs

    limits = {name: number_option(arguments, name, kind) for name, kind in LIMITS.items()}
    for name, value in limits.items():
        if value is not None and value <= 0:
            raise UserError(f"{option_name(name)} must be above 0, not {value:g}")
    runs = select_runs(AnalysisConfig(runs=arguments.runs, outputs=arguments.outputs))
    recommendation = recommend(runs, **limits)
    if arguments.json:
        print(json.dumps(recommendation.details(), indent=1))
    else:
        print(recommendation)
