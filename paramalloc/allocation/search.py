"""The search of the allocator: every shape in a request's domain that fits the budget, ranked.

Equations of the domain and of the objective stand in `allocator.allocate`.
"""

import math
from bisect import insort
from dataclasses import dataclass
from functools import cache, cached_property

from ..config import ModelConfig
from .ledger import count_parameters

D_HEAD = range(24, 65)  # narrower heads are slow, wider ones leave fewer than three at these widths
SHARE_LIMIT = (
    0.05  # a realised share further off than this, or than half of it, is not what was asked for
)
GLU_LIMIT = 1.25  # nor is an expansion that differs by more than this factor
ASPECT, ASPECT_LIMIT = (
    48,
    2.0,
)  # d_model / n_layers where nothing else fixes it: d 288 x 6 layers at 10M
MOST_LAYERS = 1000


@dataclass(frozen=True)
class Request:
    """The arguments of `allocate`, and the domain that is searched for them."""

    total_params: int
    embed_share: float
    glu: float
    vocab_size: int
    embedding: str = "tied"
    mlp: str = "swiglu"
    tolerance: float = 0.005
    multiple: int = 8
    d_model: int | None = None
    n_layers: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    d_head: int | None = None
    d_ff: int | None = None
    d_embed: int | None = None

    # ---- what is asked

    @cached_property
    def factorized(self) -> bool:
        return self.embedding == "factorized"

    @cached_property
    def seeks_share(self) -> bool:
        return not (self.d_model and (self.d_embed or not self.factorized))

    @cached_property
    def seeks_glu(self) -> bool:
        return not (self.d_ff or self.d_model and self.n_layers)

    @cached_property
    def seeks_aspect(self) -> bool:
        return self.factorized and not (self.d_model or self.n_layers)

    @cached_property
    def limited(self) -> bool:
        return self.factorized or not (self.d_model or self.n_layers or self.d_ff)

    @cached_property
    def share_limit(self) -> float:
        return min(SHARE_LIMIT, self.embed_share / 2)

    @cached_property
    def budget_free(self) -> bool:
        return bool(
            self.d_model and self.n_layers and self.d_ff and (self.d_embed or not self.factorized)
        )

    @cached_property
    def budget(self) -> tuple[float, float]:
        if self.budget_free:
            return 0, math.inf
        return self.total_params * (1 - self.tolerance), self.total_params * (1 + self.tolerance)

    # ---- the search

    def search(self, k: int) -> list[tuple]:
        """The k least `rank`s. Embeddings come in the order of the least share term that any layers could give them,
        and the search ends when that alone is worse than what was found: nothing is left out."""
        found = []
        for bound, d_model, d_embed in sorted(self.embeddings()):
            if len(found) == k and bound > found[-1][0]:
                break
            for dimensions in self.layers(d_model, d_embed):
                rank = self.rank(dimensions)
                if rank and (len(found) < k or rank < found[-1]):
                    insort(found, rank)
                    del found[k:]
        return found

    def feasible(self) -> bool:
        return any(
            self.rank(dimensions)
            for _, *embedding in self.embeddings()
            for dimensions in self.layers(*embedding)
        )

    def embeddings(self):
        """(least share term, d_model, d_embed) of every embedding that leaves a layer's worth of the budget."""
        low, high = self.budget
        for d_model in [self.d_model] if self.d_model else self.widths():
            for d_embed in self.embedding_widths(d_model):
                share = (
                    [self.embedding_size(d_model, d_embed) / total for total in (high, low)]
                    if low
                    else [0, 1]
                )
                off = (
                    max(share[0] - self.embed_share, self.embed_share - share[1], 0)
                    if self.seeks_share
                    else 0
                )
                if not (self.limited and off > self.share_limit):
                    yield round((off / 0.01) ** 2, 9), d_model, d_embed

    def widths(self):
        """Widths at which the embedding and the least that the layers could be are within the budget."""
        step, high = self.multiple, self.budget[1]
        least = 2 + (
            3 * self.glu / GLU_LIMIT if self.limited and self.seeks_glu else 0
        )  # of a layer, in d_model^2
        for d_model in range(step, int(math.sqrt(high / least)) + 1, step):
            depth = math.ceil(d_model / ASPECT / ASPECT_LIMIT) if self.seeks_aspect else 1
            if self.embedding_size(d_model, step) + depth * least * d_model**2 > high:
                break
            yield d_model

    def embedding_widths(self, d_model):
        if not self.factorized:
            return [None]
        if self.d_embed:
            return [self.d_embed] if self.d_embed <= d_model else []
        (low, high), step, column = self.budget, self.multiple, self.vocab_size + d_model
        least = max(
            step, math.ceil((self.embed_share - self.share_limit) * low / column / step) * step
        )
        return range(
            least,
            min(d_model, int((self.embed_share + self.share_limit) * high / column)) + 1,
            step,
        )

    def embedding_size(self, d_model, d_embed) -> int:
        """Parameters of table and head."""
        if self.factorized:
            return (self.vocab_size + d_model) * d_embed
        return self.vocab_size * d_model * (2 if self.embedding == "untied" else 1)

    def layers(self, d_model, d_embed):
        """Every (d_model, d_embed, n_layers, d_head, d_ff) within the budget and the limits."""
        low, high = (
            total - self.embedding_size(d_model, d_embed) - d_model for total in self.budget
        )
        matrices = 3 if self.mlp == "swiglu" else 2
        scale, step = 3 / matrices * d_model, self.multiple
        least, most = (
            (self.glu / GLU_LIMIT * scale, self.glu * GLU_LIMIT * scale)
            if self.limited and self.seeks_glu
            else (1, math.inf)
        )
        for d_head in self.head_sizes(d_model):
            fixed = (
                2 * d_model * (d_model + (self.n_kv_heads or d_model // d_head) * d_head)
                + 2 * d_model
            )
            for n_layers in self.depths(d_model, low, high, fixed, least, most, matrices * d_model):
                if self.budget_free:
                    yield d_model, d_embed, n_layers, d_head, self.d_ff
                    continue
                narrow, wide = (
                    (part / n_layers - fixed) / (matrices * d_model) for part in (low, high)
                )
                narrow, wide = max(narrow, least), min(wide, most)
                if self.d_ff:
                    sizes = [self.d_ff] if narrow <= self.d_ff <= wide else []
                else:
                    sizes = range(
                        math.ceil(narrow / step) * step, math.floor(wide / step) * step + 1, step
                    )
                for d_ff in sizes:
                    yield d_model, d_embed, n_layers, d_head, d_ff

    def depths(self, d_model, low, high, fixed, least, most, column):
        """Numbers of layers whose MLPs could be as wide as asked; a layer is `fixed` + `column` d_ff."""
        if self.n_layers:
            return [self.n_layers]
        fewest = 1 if most == math.inf else max(1, math.ceil(low / (fixed + column * most)))
        deepest = min(MOST_LAYERS, int(max(high, 0) / (fixed + column * least)))
        if self.seeks_aspect:
            fewest, deepest = (
                max(fewest, math.ceil(d_model / ASPECT / ASPECT_LIMIT)),
                min(deepest, int(d_model / ASPECT * ASPECT_LIMIT)),
            )
        return range(fewest, deepest + 1)

    def head_sizes(self, d_model) -> tuple[int, ...]:
        return head_sizes(
            d_model,
            self.n_heads,
            self.d_head,
            self.n_kv_heads or 1,
            self.multiple,
            bool(self.d_model),
        )

    def shape(self, d_model, d_embed, n_layers, d_head, d_ff) -> ModelConfig:
        heads = d_model // d_head
        return ModelConfig(
            self.vocab_size,
            d_model,
            n_layers,
            heads,
            self.n_kv_heads or heads,
            d_head,
            d_ff,
            self.embedding,
            d_embed,
            self.mlp,
        )

    def rank(self, dimensions):
        """(objective, deviation from the budget, dimensions), or None where a limit is broken."""
        d_model, d_embed, n_layers, d_head, d_ff = dimensions
        model = self.shape(*dimensions)
        total = count_parameters(model)["total"]
        share = (
            self.embedding_size(d_model, d_embed) / total - self.embed_share
            if self.seeks_share
            else 0
        )
        glu = (
            math.log(d_ff * model.mlp_matrices / (3 * d_model * self.glu)) if self.seeks_glu else 0
        )
        aspect = math.log(d_model / (ASPECT * n_layers)) if self.seeks_aspect else 0
        if self.limited and (
            abs(share) > self.share_limit
            or abs(glu) > math.log(GLU_LIMIT)
            or abs(aspect) > math.log(ASPECT_LIMIT)
        ):
            return None
        objective = (
            (share / 0.01) ** 2 + (glu / math.log(1.05)) ** 2 + (64 / d_head - 1) ** 2 + aspect**2
        )
        return round(objective, 9), abs(total - self.total_params), dimensions


@cache
def head_sizes(d_model, n_heads, d_head, n_kv_heads, multiple, width_given) -> tuple[int, ...]:
    """The d_head that divide the width into heads, and the heads into groups."""
    if d_head:
        sizes = [d_head]
    else:
        sizes = (
            [d_model // n_heads]
            if n_heads and width_given
            else [n for n in D_HEAD if n % multiple == 0]
        )
    return tuple(
        n
        for n in sizes
        if n
        and n % 2 == 0
        and d_model % n == 0
        and (n_heads is None or n_heads * n == d_model)
        and (d_model // n) % n_kv_heads == 0
    )
