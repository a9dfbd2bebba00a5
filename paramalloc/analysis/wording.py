"""How numbers and names stand in a sentence. Intervals are in square brackets."""

from __future__ import annotations

from collections.abc import Iterable


def signed(value: float) -> str:
    """A difference with its sign (U+2212 for minus) and three decimals.

    What rounds to zero has no sign.

    >>> signed(-0.0216), signed(-0.0004)
    ('−0.022', '0.000')
    """
    if abs(value) < 0.0005:
        return "0.000"
    return f"{value:+.3f}".replace("-", "−")


def signed_interval(low: float, high: float) -> str:
    """The interval of a difference.

    >>> signed_interval(-0.0216, 0.0031)
    '[−0.022, +0.003]'
    """
    return f"[{signed(low)}, {signed(high)}]"


def interval(low: float, high: float) -> str:
    """The interval of an amount, whose sign the sentence says.

    >>> interval(0.0603, 0.0861)
    '[0.060, 0.086]'
    """
    return f"[{low:.3f}, {high:.3f}]"


def percent(share: float) -> str:
    """A requested share.

    >>> percent(0.35)
    '35 %'
    """
    return f"{100 * share:g} %"


def p_value(p: float) -> str:
    """A p value, not more exact than a simulation of it.

    >>> p_value(0.0963), p_value(0.0001)
    ('p = 0.096', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def join_words(words: Iterable[str]) -> str:
    """A list as a sentence has it.

    >>> join_words(["2", "3", "4"])
    '2, 3 and 4'
    """
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
