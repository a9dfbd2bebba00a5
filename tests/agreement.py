"""Whether a sentence says what a statement does: the numbers, and the words but for some."""

import re


def about(value: float, digits: int, within: float) -> str:
    """A number that the report simulates: it may be off by `within`."""
    return f"{value:.{digits}f}±{within}"


def agrees(statement: str, sentence: str) -> bool:
    """Whether a sentence says what the statement does.

    In a statement, `…` is any words without a digit, and `0.123±0.002` a number in this range.
    """
    parts = re.split(r"([−+-]?[\d.]+)±([\d.]+)", statement)
    pattern = r"([−+-]?[\d.]+)".join(
        re.escape(words).replace("…", r"[^\d]*") for words in parts[::3]
    )
    match = re.fullmatch(pattern, sentence)
    if not match:
        return False
    wanted = zip(parts[1::3], parts[2::3], match.groups(), strict=True)
    return all(
        abs(_number(value) - _number(found)) <= float(within) for value, within, found in wanted
    )


def _number(text: str) -> float:
    return float(text.replace("−", "-"))
