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
# A small language model spends its parameters on the embedding, on attention and on the MLP of
# each layer. This notebook shows what a split becomes before anything is trained: a shape, its
# FLOPs, its memory, and its highest possible speed.
#
# - **The share is the width.** With a tied embedding, a larger embedding share means a wider and
#   shallower model.
# - **The expansion is the depth.** A wider MLP leaves parameters for fewer layers.
# - **Compute hardly changes, speed does.** Of 10M parameters, 25 % for the embedding gives 24 thin
#   layers, 45 % gives 6 wide ones. Their FLOPs per token differ by 10 %, their highest possible
#   training speed by a factor of 1.8.
#
# Which split learns best is another question: [train](train.ipynb) and [analysis](analysis.ipynb)
# answer it.
#
# ## Ask for a shape
# Give a budget, a vocabulary, a share and an expansion. Any of them can be changed here or with
# papermill's `-p`.

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

# %% [markdown]
# The allocator tries every shape within 0.5 % of the budget and takes the one nearest to the
# request. Layers are whole numbers, so the realised share and expansion differ a little from the
# requested ones.

# %%
from paramalloc import allocate
from paramalloc.config import ExploreConfig

config = ExploreConfig.from_notebook(globals())
request = (config.total_params, config.embed_share, config.glu, config.vocab_size)
shape = allocate(*request, config.embedding, mlp=config.mlp)
shape

# %% [markdown]
# ## What it costs
# FLOPs and memory follow from the shape; the tests hold them to what torch and transformers count.
# The roofline is an upper bound on speed, for perfectly fused code. It is not a prediction.

# %%
import pandas as pd

costs = pd.DataFrame(shape.costs(config.seq_len, hardware=config.hardware))
costs.style.hide().hide(axis="columns").set_properties(**{"text-align": "left"})

# %% [markdown]
# ## The twelve cells of the study
# Three shares by four expansions, at 10M parameters and 16,000 tokens of vocabulary: 29 to 4
# layers. Parameters and FLOPs hardly differ. The highest possible speed grows with the width.

# %%
from itertools import product

from paramalloc.allocation import comparison

shares = (0.25, 0.35, 0.45)
expansions = (2, 2.66, 3, 4)
cells = [allocate(10_000_000, share, glu, 16_000) for share, glu in product(shares, expansions)]
comparison(cells, config.seq_len, hardware=config.hardware).style.hide()

# %% [markdown]
# ## Try it
# Move a slider; the arrow keys work too. Pin an allocation to compare the next ones with it, and
# copy the command to train it.
#
# - **Recommend from my runs** fits the losses of your finished runs over share and expansion. It
#   names the best shape for this budget and vocabulary, how sure that is, and how far it lies from
#   what was measured.
# - **A factorized embedding** separates the share from the width. *Traded against* then says what
#   shrinks as the share grows: the MLP, the depth, or all dimensions together.

# %%
from paramalloc.widgets import Explorer

Explorer(config)

# %% [markdown]
# Without a running kernel, this shows the allocation of where the controls stood.
