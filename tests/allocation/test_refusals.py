"""A refusal names the constraint that binds, and the nearest request that fits."""

import pytest

from paramalloc.allocation import allocate
from paramalloc.errors import InfeasibleError

WRONG = [
    (
        {"embed_share": 0.9},
        "leaves 1,000,000 for the layers, and one layer of width 562 at glu 2.66 holds 3,790,547",
    ),
    ({"embed_share": 0.01}, "is a width of 6, less than one head of 24"),
    ({"embed_share": 0.9, "embedding": "factorized"}, "no factorized embedding of that size"),
    (
        {"d_model": 288, "n_layers": 30},
        "has d_model 288, n_layers 30 at embed_share 0.35: a total_params that fits is 14,786,208",
    ),
    (
        {"d_embed": 96, "embedding": "factorized"},
        "has d_embed 96 at embed_share 0.35: the nearest embed_share that fits is",
    ),
    ({"d_model": 100}, "divides d_model 100: name d_head or n_heads, or change d_model"),
    ({"d_model": 96, "n_heads": 5}, "d_model 96 is not a multiple of n_heads 5"),
    (
        {"d_model": 96, "n_heads": 3, "d_head": 24},
        "d_model 96 is not n_heads 3 x d_head 24: leave one of them out",
    ),
    ({"n_heads": 4, "n_kv_heads": 3}, "n_heads 4 is not a multiple of n_kv_heads 3"),
    ({"d_embed": 64}, "d_embed belongs to embedding 'factorized': leave it out"),
    (
        {"d_model": 64, "d_embed": 96, "embedding": "factorized"},
        "d_embed 96 is larger than d_model 64",
    ),
    ({"embedding": "shared"}, "embedding must be one of tied, untied, factorized, not 'shared'"),
    ({"embed_share": 1.5}, "embed_share must be above 0 and below 1, not 1.5"),
    ({"d_model": 54, "n_heads": 6}, "d_head 9 must be even"),
    ({"d_model": 96, "d_head": 24, "n_kv_heads": 3}, "n_heads 4 is not a multiple of n_kv_heads 3"),
    ({"multiple": 33}, "no d_head from 24 to 64 is even and a multiple of 33"),
    ({"n_layers": 6.5}, "n_layers must be a whole number, not 6.5"),
    ({"n_layers": 0}, "n_layers must be at least 1, not 0"),
    ({"d_model": 288, "n_layers": 6, "d_ff": -512}, "d_ff must be at least 1, not -512"),
    ({"glu": float("nan")}, "glu must be a finite number"),
    ({"tolerance": 2}, "tolerance must be above 0 and below 1, not 2"),
    ({"total_params": None}, "total_params must be a number, not None"),
]


@pytest.mark.parametrize(
    "wrong, message", WRONG, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_a_refusal_names_the_constraint_that_binds(wrong, message):
    """One line, with what was asked and what stands in its way."""
    request = {"total_params": 10_000_000, "embed_share": 0.35, "glu": 2.66, "vocab_size": 16_000}
    with pytest.raises(InfeasibleError) as error:
        allocate(**request | wrong)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_suggested_total_has_room_for_the_named_dimensions():
    """The total that a refusal names can be asked for."""
    assert allocate(14_786_208, 0.35, 2.66, 16_000, d_model=288, n_layers=30).model.n_layers == 30


def test_an_infeasible_share_names_the_nearest_feasible_one():
    """The message says what is left for the layers and names a share, and that share works."""
    with pytest.raises(InfeasibleError, match="leaves 100,000 for the layers") as error:
        allocate(10_000_000, 0.99, 2.66, 16_000)
    nearest = float(str(error.value).rsplit(" ", 1)[1])
    assert allocate(10_000_000, nearest, 2.66, 16_000).embed_share == pytest.approx(
        nearest, abs=0.05
    )


def test_an_infeasible_error_is_a_value_error():
    """Callers may catch ValueError."""
    with pytest.raises(ValueError, match="nor does any other share fit"):
        allocate(100_000, 0.5, 2.66, 16_000)
