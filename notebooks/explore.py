# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What does a parameter budget buy?
#
# A budget is split between the embedding, the depth, attention and the MLP. Here you see what a split becomes (a shape,
# its FLOPs, its memory, its speed at best) before anything is trained.

# %% tags=["parameters"]
total_params: int = 10_000_000  # parameters in all
vocab_size: int = 16_000  # tokens in the vocabulary, end-of-text included, at most 65,536
embed_share: float = 0.35  # requested share of the embedding in all parameters
glu: float = 2.66  # requested expansion of the MLP, d_ff over d_model
embedding: str = "tied"  # tied, untied or factorized
mlp: str = "swiglu"  # swiglu, or relu2 (no gate, with as many parameters)
seq_len: int = 512  # tokens of context, for attention FLOPs and the cache
hardware: str = "H100 SXM"  # whose peak rates the roofline uses
outputs: str = "outputs"  # folder whose finished runs are drawn

# %%
from paramalloc import allocate
from paramalloc.config import ExploreConfig

config = ExploreConfig.from_notebook(globals())
size = (config.total_params, config.embed_share, config.glu, config.vocab_size)
shape = allocate(*size, config.embedding, mlp=config.mlp)
shape

# %% [markdown]
# ## What it costs
# Every figure follows from the shape: tests compare the parameters with transformers and the FLOPs with torch's counter.
# The roofline is a bound for perfectly fused code, not a prediction.

# %%
import pandas as pd

pd.DataFrame(
    shape.costs(config.seq_len, hardware=config.hardware), columns=["", "cost"]
).style.hide().set_properties(**{"text-align": "left"})

# %% [markdown]
# ## The study's twelve cells
# With a tied embedding the share is the width and the expansion is the depth: 25 % means thin and deep, 45 % wide and
# shallow. Parameters and FLOPs hardly differ, the speed at best does.

# %%
from itertools import product

from paramalloc.allocation import comparison

cells = [
    allocate(10_000_000, share, expansion, 16_000)
    for share, expansion in product((0.25, 0.35, 0.45), (2, 2.66, 3, 4))
]
comparison(cells, config.seq_len, hardware=config.hardware).style.hide()

# %% [markdown]
# ## Try it
# Move a slider (the arrow keys work too), pin an allocation to compare with it, copy the command to train it.
# *Recommend from my runs* fits the losses of your finished runs over share and expansion, and names the shape that they
# speak for at this budget, how sure that is, and how far it lies from what was measured.
# Without a running kernel this shows where the controls stood.

# %%
from paramalloc.widgets import Explorer

Explorer(config)

# %% [markdown]
# A factorized embedding separates the share from the width; then *paid by* says what shrinks as the share grows.
# How well an allocation learns is the question of `notebooks/train`; which are worth their cost, that of
# `notebooks/analysis`.
