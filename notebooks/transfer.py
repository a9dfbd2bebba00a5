# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does one learning rate suit all shapes?
#
# The grid compares thin, deep models with wide, shallow ones. If each wants another learning rate, one rate for all favours
# the shapes that happen to want it. CompleteP promises one that suits all; here both are measured, and the result sets the default.

# %% tags=["parameters"]
runs: str = "outputs/reference/transfer/results.csv"  # a results.csv, or sweeps joined by +
dataset: str = ""  # dataset of the sweeps' runs; empty for their own
profile: str = "quick"  # sizes of the sweeps' cells
outputs: str = "outputs"  # folder of the sweeps' runs

# %%
from paramalloc import plots
from paramalloc.analysis import moves, nats, optima, slopes, transfer_verdict
from paramalloc.config import TransferConfig
from paramalloc.sweep import select_runs
from paramalloc.training import coordinate_check

config = TransferConfig.from_notebook(globals())

# %% [markdown]
# ## What does a step change?
# A step should change the activations of a large model as much as those of a small one. Shapes of width 64 to 512 and depth 2 to 32
# take ten steps at one rate; the exponents say how the change grows with the size. Under `standard` it grows; under `completep`
# it does not. (The logits may fall with the width: at the start they are small.)
#
# The rate is 1/40 of what the profiles train with, so that steps are small: at 2e-3 the final hidden state of every shape has turned
# as far as it can within ten of them, and by then its exponents are below 0.1 even under `standard`.

# %%
import pandas as pd

check = pd.concat([coordinate_check(name, lr=5e-5, seeds=2) for name in ("standard", "completep")])
plots.show(plots.coordinates(check))

# %%
slopes(check).pivot_table(
    index=["what", "step"], columns=["parametrization", "axis"], values="slope"
).round(2)

# %% [markdown]
# ## Where is the best learning rate?
# Three widths at 8 layers and three depths at width 96, at up to five rates each: 204,800 tokens of Wikipedia and news, vocabulary
# 1,024. The embedding's tables learn at `embed_lr` times the rate of the rest; the chart is of a multiplier of 3, the one that both
# parametrizations were trained with. `paramalloc sweep transfer` and `transfer_embedding` train all again, in about an hour on two cores.

# %%
results = select_runs(config)
best = optima(results)
plots.show(plots.best_rates(results.query("embed_lr == 3"), best.query("embed_lr == 3")))

# %% [markdown]
# How far the best rate moves from the smallest to the largest shape, in octaves (`at_least` so far, where a best rate lies at the edge
# of what was tried), and what a shape loses at most, in nats per token, when it takes the best rate of the middle one, 96 × 8. The
# rows of multipliers other than 3 are of `completep` alone.

# %%
moved = moves(results, base=(96, 8))
moved.style.format({"octaves": "{:+.1f}", "regret": nats, "embed_lr": "{:g}"}, na_rep="—").hide()

# %% [markdown]
# The size of a head is fixed, at 48 here and at 32 in the check above, while in the study's grid it goes from 28 to 60 with the shape;
# attention is scaled by 1 / √d_head in all of them, and whether a rate transfers across head sizes is not tested.

# %% [markdown]
# ## What does the embedding want?
# Lowest dev loss over all rates, by multiplier and width. What is best falls as the budget of tokens grows (`outputs/reference/LOG.md`),
# so the profiles hold 10 (quick), 5 (reference) and 3 (study).

# %%
best.query("n_layers == 8").pivot_table(
    index=["parametrization", "embed_lr"], columns="d_model", values="best_loss"
).round(3)

# %% [markdown]
# ## So
# Of the multiplier that both were trained with:

# %%
transfer_verdict(results, base=(96, 8))
