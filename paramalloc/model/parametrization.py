"""How each weight starts and how fast it learns, by its place in the shape.

Under `standard`, all weights learn at the same rate. `completep` keeps the best learning rate where
it is as a model grows (CompleteP: Dey et al. 2025, arXiv 2505.01618, table 1, alpha = 1): in width
it is muP (Yang et al. 2022, arXiv 2203.03466), in depth what a block adds is times 1 / n_layers.

The papers' factors are on the forward pass. Adam does not notice when a factor c moves from there
into a weight that starts c times as large, learns c times as fast, and has 1 / c of the decay and
of the epsilon. Here all of them have moved: the model is a plain Llama under both names, and an
exported run needs no factor.

Letters: D is d_model, L is n_layers.
"""

from dataclasses import dataclass

from ..config import ModelConfig

# The shape at which both are the same, but for what starts at zero. A depth of 2 is the paper's;
# with 8 the best loss of 96 x 2 was 4.62 against 4.54 (notebooks/transfer), as what writes to the
# residual stream learnt too fast in shallow shapes.
BASE_WIDTH = 128
BASE_DEPTH = 2
BASE_GLU = 8 / 3

TABLES = ("embedding", "head")  # a row per token
WRITERS = ("out", "down")  # what writes to the residual stream
GAINS = ("attention_norm", "mlp_norm", "norm")


@dataclass(frozen=True)
class Rule:
    """Where one weight starts, and what the recipe's settings are multiplied with for it."""

    start: float
    """The standard deviation of its normal; of a gain, its value."""
    lr: float = 1.0
    decay: float = 1.0
    eps: float = 1.0
    """Of the optimizer's epsilon."""
    muon: float = 1.0
    """Of the lr where the step is orthogonal: a step of that size adds up to fan_in^0.5, not to
    fan_in as the aligned steps of Adam (Yang et al. 2023, arXiv 2310.17813)."""


def rule(
    name: str, shape: ModelConfig, parametrization: str = "standard", embed_lr: float = 1.0
) -> Rule:
    """The rule of the weight of that name in a `DecoderLM` of this shape.

    `embed_lr` multiplies the lr of the tables: of the embedding, and of an untied head.
    """
    rules = {"standard": standard, "completep": completep}
    kind = name.split(".")[-2]
    return rules[parametrization](kind, shape, embed_lr)


def standard(kind: str, shape: ModelConfig, embed_lr: float) -> Rule:
    """N(0, 2 / (5 D)) (Nguyen & Salazar 2019), and 1 / (2 L) of that variance for the writers.

    At these widths GPT-2's fixed 0.02 learns late: 1M parameters, 0.3M tokens, lr 6e-3, dev loss
    6.30 against 5.75. A factorized embedding's projection is N(0, 1 / d_embed), so that the table
    times it is as large as a tied table.
    """
    std = (2 / (5 * shape.d_model)) ** 0.5
    if kind in GAINS:
        return Rule(1.0, decay=0.0)
    if kind in TABLES:
        return Rule(std, embed_lr)
    if kind in WRITERS:
        return Rule(std / (2 * shape.n_layers) ** 0.5)
    if kind == "projection":
        return Rule(shape.d_embed**-0.5)
    return Rule(std)


def completep(kind: str, shape: ModelConfig, embed_lr: float) -> Rule:
    """The variance and the lr of a matrix fall with its fan-in; lr times decay stays.

    - The writers carry the factor 1 / depth. They start at zero, so that every depth starts from
      the embedding alone: with random ones the final hidden state moved with depth^0.5 in the
      coordinate check, and 88 x 7 learnt less (1M parameters, 0.2M tokens, lr 2e-3: dev loss 5.963
      against 5.933).
    - The logits' factor 1 / width lies in the last gain, as a tied table has no room for it.
    - The fan-in of `down` is d_ff, of the projection d_embed: both move in this project while the
      width stays.
    - The size of a head has no rule: scores are scaled with d_head^-0.5 under both names. Transfer
      was measured at a d_head of 48 (rates) and of 32 (coordinate check). In the grid it goes from
      28 to 60 with the shape, and transfer across that is not tested.
    """
    width = shape.d_model / BASE_WIDTH
    depth = shape.n_layers / BASE_DEPTH
    std = (2 / (5 * BASE_WIDTH)) ** 0.5
    if kind == "norm":
        return Rule(1 / width, 1 / width, decay=0.0)
    if kind in GAINS:
        return Rule(1.0, decay=0.0, eps=1 / (width * depth))
    if kind in TABLES:
        return Rule(std, embed_lr, eps=1 / width)
    if kind == "projection":
        fan_in = shape.d_embed / BASE_WIDTH
        return Rule(shape.d_embed**-0.5, 1 / fan_in, fan_in, 1 / width, fan_in**-0.5)
    if kind in WRITERS:
        fan_in = shape.glu / BASE_GLU * width if kind == "down" else width
        return Rule(0.0, 1 / (fan_in * depth), fan_in * depth, 1 / width, fan_in**-0.5 / depth)
    return Rule(std / width**0.5, 1 / width, width, 1 / (width * depth), width**-0.5)
