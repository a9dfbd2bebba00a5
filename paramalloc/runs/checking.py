"""What the cells of results.csv may hold: a table may have been edited by hand."""

import json
import re
from typing import Any

from ..config import TrainConfig
from ..errors import RunError
from .reading import may_be
from .schema import COLUMNS, TEXT_COLUMNS, column_names

ENDS = ("completed", "stopped_early", "diverged")
STATES = (*ENDS, "failed", "missing")  # the last two are cells of a sweep without a result
# What every run that ended has recorded, in tables of any age.
REQUIRED = (
    *("seq_len", "batch_tokens", "tokens", "vocab_size", "seed", "lr", "embedding"),
    *("dataset", "data_fingerprint", "total_params", "embed_share", "glu"),
    *("d_model", "n_layers", "n_heads", "d_ff"),
)
LOSSES = [name for name in COLUMNS if name.endswith("_loss")]
LARGEST_LOSS = 700  # nats per token: its perplexity is still a number
LARGEST_VALUE = 10**18  # of anything: what follows from it is still a number
PROPORTIONS = ("embed_share", "requested_share")
POSITIVE = {
    *column_names(role="request"),
    *column_names(role="shape"),
    *column_names(role="realised"),
    *column_names(role="speed"),
    *LOSSES,
}
RECORDED = column_names(role="recorded")
# A number as spreadsheets write it in most of Europe.
DECIMAL_COMMA = r"-?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?"
NOUNS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list of pairs of numbers",
}


def parse_cell(name: str, text: str) -> Any:
    """The value of a cell of a column, None where it is blank; RunError where it is none."""
    text = text.strip()
    if not text or name in TEXT_COLUMNS:
        return text or None
    if re.fullmatch(DECIMAL_COMMA, text):
        text = text.replace(",", ".")
    try:
        value = json.loads(text.lower())  # pandas writes True
    except (ValueError, RecursionError):
        raise RunError(f"{text[:40]!r} is not {_noun(name)}; leave it blank if unknown") from None
    is_count = name in COLUMNS and COLUMNS[name].kind == "int"
    if is_count and isinstance(value, float) and value.is_integer():
        return int(value)  # beside an empty cell pandas writes 4096 as 4096.0
    return value


def _noun(name: str) -> str:
    return NOUNS.get(COLUMNS[name].kind, "a value") if name in COLUMNS else "a value"


def check_cell(name: str, value: Any) -> None:
    """RunError where a column cannot have this value; None is blank."""
    if name not in COLUMNS or value is None:
        return
    if not may_be(name, value):
        raise RunError(f"{json.dumps(value)[:40]} is not {_noun(name)}")
    if name in RECORDED:
        _check_parameter(name, value)
    if name in POSITIVE and value <= 0:
        raise RunError(f"it must be above 0, not {value:g}")
    if name in LOSSES and value > LARGEST_LOSS:
        raise RunError(f"it must be at most {LARGEST_LOSS} nats per token, not {value:g}")
    if name in PROPORTIONS and value >= 1:
        raise RunError(f"it must be below 1, not {value:g}")
    if name in POSITIVE and value > LARGEST_VALUE:
        raise RunError(f"it must be at most {LARGEST_VALUE:g}, not {value:g}")
    if name == "status" and value not in STATES:
        raise RunError(f"it must be one of {', '.join(STATES)}, not {value!r}")


def _check_parameter(name: str, value: Any) -> None:
    """As TrainConfig takes it."""
    spec = TrainConfig.__dataclass_fields__[name]
    low, high = spec.metadata.get("low"), spec.metadata.get("high")
    if low is not None and not low <= value <= high:
        raise RunError(f"it must be between {low:g} and {high:g}, not {value:g}")
    choices = spec.metadata.get("choices")
    if choices and value not in choices:
        raise RunError(f"it must be one of {', '.join(choices)}, not {value!r}")


def blank_column(row: dict[str, Any]) -> str | None:
    """The first column that a run with this status cannot leave blank, and does."""
    required: tuple[str, ...] = ()
    if row.get("status") in ENDS:
        required = REQUIRED
    if row.get("status") == "completed":
        required = (*REQUIRED, "dev_loss")
    return next((name for name in required if row.get(name) is None), None)
