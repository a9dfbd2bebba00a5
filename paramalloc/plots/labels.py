"""Where the labels of a scatter plot go: on the first side of each point that is free."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd

WIDTH, HEIGHT = 600, 380  # pixels of plotting area; axes and legend come on top
SIDES = {
    "right": (9, 0, "left"),
    "left": (-9, 0, "right"),
    "above": (0, -15, "center"),
    "below": (0, 15, "center"),
}

Box = tuple[float, float, float, float]  # left, right, top, bottom, in pixels


def place_labels(
    cells: pd.DataFrame, xs: list[float], ys: list[float], better: str
) -> pd.DataFrame:
    """Give each label the first side that is free of points, lines and other labels.

    `cells` are placed by columns `at` and `quality` in the ranges `xs` and `ys`; `better` says
    which direction of the cost is better. Cells on the front choose first, and each gets a label.
    """
    px = (cells["at"] - xs[0]) / (xs[1] - xs[0]) * WIDTH
    py = (ys[1] - cells.quality) / (ys[1] - ys[0]) * HEIGHT
    taken = [(x - 6, x + 6, y - 6, y + 6) for x, y in zip(px, py, strict=True)]
    taken += _step_boxes(px[cells.front], py[cells.front], better)
    sides = dict.fromkeys(cells.index, "")
    for i in cells.sort_values("front", ascending=False, kind="stable").index:
        boxes = {side: _label_box(px[i], py[i], cells.cell[i], side) for side in SIDES}
        side = _free_side(boxes, taken)
        if not side and cells.front[i]:
            side = _least_covered(boxes, taken)
        if side:
            taken.append(boxes[side])
        sides[i] = side
    return cells.assign(side=sides)


def _free_side(boxes: dict[str, Box], taken: list[Box]) -> str:
    """The first side whose label is inside the plot and meets nothing; empty if none is."""
    for side, box in boxes.items():
        if _inside(box) and not any(_meet(box, other) for other in taken):
            return side
    return ""


def _least_covered(boxes: dict[str, Box], taken: list[Box]) -> str:
    """The side, inside the plot if one is, whose label meets the fewest other things."""

    def cost(side: str) -> tuple[bool, int]:
        box = boxes[side]
        return not _inside(box), sum(_meet(box, other) for other in taken)

    return min(boxes, key=cost)


def _step_boxes(px: pd.Series, py: pd.Series, better: str) -> list[Box]:
    """The front's step line as thin boxes."""
    boxes = []
    for a, b in pairwise(sorted(zip(px, py, strict=True))):
        corner = (a[0], b[1]) if better == "more" else (b[0], a[1])
        boxes += [_line_box(a, corner), _line_box(corner, b)]
    return boxes


def _line_box(a: tuple[float, float], b: tuple[float, float]) -> Box:
    return min(a[0], b[0]), max(a[0], b[0]) + 1, min(a[1], b[1]), max(a[1], b[1]) + 1


def _label_box(x: float, y: float, text: str, side: str) -> Box:
    dx, dy, align = SIDES[side]
    width = 6.4 * len(text)  # of an 11-pixel bold label, rounded up
    left = x + dx - width * {"left": 0, "right": 1, "center": 0.5}[align]
    return left, left + width, y + dy - 8, y + dy + 8


def _inside(box: Box) -> bool:
    return box[0] >= 0 and box[1] <= WIDTH and box[2] >= 0 and box[3] <= HEIGHT


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
