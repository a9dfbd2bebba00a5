"""Where the labels of a scatter plot go: on the first side of each point that is free."""

import pandas as pd

WIDTH, HEIGHT = 600, 380  # pixels of plotting area; axes and legend come on top
SIDES = {
    "right": (9, 0, "left"),
    "left": (-9, 0, "right"),
    "above": (0, -15, "center"),
    "below": (0, 15, "center"),
}


def place_labels(cells: pd.DataFrame, xs: list[float], ys: list[float], sense: str) -> pd.DataFrame:
    """Give each label the first side that is free of points, lines and other labels; the front chooses first, and each of its cells gets one.

    `cells` are placed by columns `at` and `quality`; `sense` says which direction of the cost is better.
    """
    px = (cells["at"] - xs[0]) / (xs[1] - xs[0]) * WIDTH
    py = (ys[1] - cells.quality) / (ys[1] - ys[0]) * HEIGHT
    taken = [(x - 6, x + 6, y - 6, y + 6) for x, y in zip(px, py)]
    taken += _step_boxes(px[cells.front], py[cells.front], sense)
    side = dict.fromkeys(cells.index, "")
    for i in cells.sort_values("front", ascending=False, kind="stable").index:
        boxes = {name: _label_box(px[i], py[i], cells.cell[i], name) for name in SIDES}
        side[i] = next((name for name, box in boxes.items() if _free(box, taken)), "")
        if (
            cells.front[i] and not side[i]
        ):  # one on the front is named all the same, where it covers least
            side[i] = min(
                SIDES,
                key=lambda name: (
                    not _inside(boxes[name]),
                    sum(_meet(boxes[name], other) for other in taken),
                ),
            )
        taken += [boxes[side[i]]] if side[i] else []
    return cells.assign(side=side)


def _step_boxes(px: pd.Series, py: pd.Series, sense: str) -> list[tuple]:
    """The front's step line, in pixels, as thin boxes (left, right, top, bottom)."""
    points = sorted(zip(px, py))
    corners = [
        (a[0], b[1]) if sense == "more" else (b[0], a[1]) for a, b in zip(points, points[1:])
    ]
    ends = [*zip(points, corners), *zip(corners, points[1:])]
    return [
        (min(a[0], b[0]), max(a[0], b[0]) + 1, min(a[1], b[1]), max(a[1], b[1]) + 1)
        for a, b in ends
    ]


def _label_box(x: float, y: float, text: str, side: str) -> tuple:
    dx, dy, align = SIDES[side]
    wide = 6.4 * len(text)  # of an 11-pixel bold label, rounded up
    left = x + dx - wide * {"left": 0, "right": 1, "center": 0.5}[align]
    return left, left + wide, y + dy - 8, y + dy + 8


def _free(box: tuple, taken: list[tuple]) -> bool:
    return _inside(box) and not any(_meet(box, other) for other in taken)


def _inside(box: tuple) -> bool:
    return box[0] >= 0 and box[1] <= WIDTH and box[2] >= 0 and box[3] <= HEIGHT


def _meet(a: tuple, b: tuple) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
