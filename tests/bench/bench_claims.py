"""How often does the analysis claim what is not so, and find what is? In simulated studies.

    python tests/bench/bench_claims.py [--studies 500]

Prints the part of studies with a false claim, by scenario and claim, and the part that finds a cell
better than the baseline by four standard errors of a difference; under ten minutes on two cores. At
most 7.2 % and at least 80 % are asked for (tests/analysis/test_statistics.py).
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # tests/, which a script does not search
from simulated_studies import BASELINE, BETTER, SCENARIOS, false_claims, power

POWERS = {
    "one cell better by 4 standard errors": (4.0, BETTER),
    "the baseline worse than all by 4": (4.0, BASELINE),
    "the baseline worse than all by 8": (8.0, BASELINE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=500)
    # `make bench` gives every script a dataset, which this one does not need.
    studies = parser.parse_known_args()[0].studies
    with ProcessPoolExecutor() as processes:
        found = {name: processes.submit(power, 4 * studies, *off) for name, off in POWERS.items()}
        rows = []
        tables = processes.map(partial(false_claims, studies=studies), SCENARIOS)
        for i, (scenario, table) in enumerate(zip(SCENARIOS, tables, strict=True), 1):
            print(f"{i} of {len(SCENARIOS)}: {scenario}", file=sys.stderr, flush=True)
            rows.append({"scenario": scenario} | table)
        print(f"Studies with a false claim, of {studies}:")
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.1%}".format))
        print(f"Studies that find it, of {4 * studies}:")
        for name, future in found.items():
            print(f"{name}: {future.result():.1%}")


if __name__ == "__main__":
    main()
