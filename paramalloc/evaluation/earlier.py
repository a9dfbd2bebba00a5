"""SmallBench as a run's folder holds it from an earlier measurement, and when it stays.

A run may be measured again where some of the sets are not at hand. Then what was measured of them
stays: two sizes, or half of the sets, are not mixed.
"""

from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..runs import MEASURED, read_json
from .measured import Measurement
from .sets import SETS

SMALLBENCH_COLUMNS = [
    name for name in MEASURED if name == "out_of_domain" or name.startswith(("smallbench", *SETS))
]


def read_earlier(folder: Path, result: dict) -> Measurement:
    """SmallBench of the run in `folder`, whose result.json holds `result`; empty without one."""
    columns = {name: result.get(name) for name in SMALLBENCH_COLUMNS}
    earlier = Measurement({name: value for name, value in columns.items() if value is not None})
    if not scored_sets(earlier):
        return Measurement()
    details = read_json(folder / "evaluation.json") or {}
    if "smallbench" in details:
        earlier.details["smallbench"] = details["smallbench"]
    with suppress(OSError, SafetensorError):
        arrays = load_file(folder / "items.safetensors")
        earlier.arrays = {name: arrays[name] for name in arrays if ".document." not in name}
    return earlier


def keep_earlier(earlier: Measurement, smallbench: Measurement) -> Measurement:
    """The later SmallBench where it covers all sets of the earlier one, else the earlier.

    `kept` in its details says so then.
    """
    lost = scored_sets(earlier) - scored_sets(smallbench)
    if not lost:
        return smallbench
    kept = {"kept": f"it has {', '.join(sorted(lost))}, which was not measured now"}
    missing = {"missing": smallbench.details.get("missing", {})}
    return Measurement(
        earlier.columns, earlier.details | missing | kept, earlier.arrays, smallbench.failed
    )


def scored_sets(measured: Measurement) -> set[str]:
    """The sets of SmallBench that these columns hold something of."""
    return {name for name in SETS if any(key.startswith(name) for key in measured.columns)}
