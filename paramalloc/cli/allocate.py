"""`paramalloc allocate`: the shape for a budget."""

import itertools
import json

from ..allocation import HARDWARE, comparison, k_best
from ..config import ROOT, load_yaml
from ..errors import UserError
from .options import add_command, add_json, number_option, option_name

# An argument of `allocate`: its kind, its default, and its help.
REQUEST_OPTIONS = {
    "total_params": (int, "10_000_000", "Parameters in total; 10e6 and 10_000_000 are the same"),
    "embed_share": (float, "0.35", "Share of the embedding in all parameters"),
    "glu": (float, "2.66", "GLU expansion, d_ff / d_model"),
    "vocab_size": (int, "16_000", "Tokens in the vocabulary"),
    "embedding": (str, "tied", "tied, untied or factorized"),
    "mlp": (str, "swiglu", "swiglu, or relu2, which has no gate"),
    "tolerance": (float, "0.005", "How far the total may be from --total-params, as a fraction"),
    "multiple": (int, "8", "d_model, d_ff, d_head and d_embed are multiples of this"),
    "d_model": (int, None, "Width of the model, kept as given"),
    "n_layers": (int, None, "Number of layers, kept as given"),
    "n_heads": (int, None, "Attention heads"),
    "n_kv_heads": (int, None, "Key and value heads (grouped-query attention)"),
    "d_head": (int, None, "Width of an attention head"),
    "d_ff": (int, None, "Width of the MLP, kept as given"),
    "d_embed": (int, None, "Width of a factorized embedding's table, kept as given"),
}
METAVARS = {int: "N", float: "X", str: "NAME"}


def add_allocate(commands) -> None:
    parser = add_command(
        commands,
        "allocate",
        run_allocate,
        "Find the shape for a parameter budget.",
        "Prints where its parameters are, and what training and decoding it cost. "
        "The search is exhaustive.",
    )
    for name, (kind, default, text) in REQUEST_OPTIONS.items():
        suffix = f" (default: {default})." if default else "."
        parser.add_argument(
            option_name(name), default=default, metavar=METAVARS[kind], help=text + suffix
        )
    _add_costs(parser)
    parser.add_argument(
        "--best", default=1, metavar="N", help="Print so many of the best shapes (default: 1)."
    )
    parser.add_argument(
        "--grid", action="store_true", help="Print the cells of params/grid.yaml at this budget."
    )
    add_json(parser)


def _add_costs(parser) -> None:
    """What FLOPs, memory and the roofline depend on besides the shape."""
    parser.add_argument(
        "--seq-len",
        default=512,
        metavar="N",
        help="Tokens of context, for FLOPs and memory (default: 512).",
    )
    parser.add_argument(
        "--batch-tokens",
        default=32_768,
        metavar="N",
        help="Tokens that are in memory at once when training (default: 32768).",
    )
    parser.add_argument(
        "--hardware",
        default="H100 SXM",
        metavar="NAME",
        help=f"GPU for the roofline (default: H100 SXM). Known are {', '.join(HARDWARE)}.",
    )


def run_allocate(arguments) -> None:
    # Read and check the arguments.
    request = _request(arguments)
    seq_len = number_option(arguments, "seq_len", int)
    batch_tokens = number_option(arguments, "batch_tokens", int)
    costs = (seq_len, batch_tokens, arguments.hardware)
    if arguments.hardware not in HARDWARE:
        raise UserError(f"unknown hardware '{arguments.hardware}': known are {', '.join(HARDWARE)}")
    if min(seq_len, batch_tokens) < 1:
        raise UserError("--seq-len and --batch-tokens must be at least 1")
    best = number_option(arguments, "best", int)

    # Allocate.
    shapes = []
    for point in _grid_points() if arguments.grid else [{}]:
        shapes += k_best(best, **request | point)

    # Print.
    if arguments.json:
        details = [shape.details(*costs) for shape in shapes]
        is_list = arguments.grid or best != 1
        print(json.dumps(details if is_list else details[0], indent=1))
    elif len(shapes) > 1:
        print(comparison(shapes, *costs).to_string(index=False))
    else:
        rows = [f"{name:15}{value}" for name, value in shapes[0].costs(*costs)]
        print(shapes[0], *rows, sep="\n")


def _request(arguments) -> dict:
    """The arguments of `allocate` that are set, as numbers and texts."""
    request = {}
    for name, (kind, _, _) in REQUEST_OPTIONS.items():
        value = getattr(arguments, name)
        if kind is not str:
            value = number_option(arguments, name, kind)
        if value is not None:
            request[name] = value
    return request


def _grid_points() -> list[dict]:
    axes = load_yaml(ROOT / "params" / "grid.yaml")["axes"]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
