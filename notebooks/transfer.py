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
runs: str = "outputs/reference/transfer/results.csv"  # the runs to read, a results.csv, or sweeps such as transfer+transfer_embedding
dataset: str = ""  # dataset of the sweeps' runs; empty for their own
profile: str = "quick"  # sizes of the sweeps' cells
outputs: str = "outputs"  # folder of the sweeps' runs

# %%
from paramalloc import plots
from paramalloc.config import TransferConfig
from paramalloc.sweep import select_runs
from paramalloc.transfer import coordinate_check, moves, optima, slopes, verdict

config = TransferConfig.from_notebook(globals())

# %% [markdown]
# ## What does a step change?
# A step should change the activations of a large model as much as those of a small one. Shapes of width 64 to 512 and depth 2 to 32
# take ten steps at one rate; the exponents say how the change grows with the size. Under `standard` it grows; under `completep`
# it does not. (The logits may fall with the width: at the start they are small.)

# %%
import pandas as pd

check = pd.concat([coordinate_check(name, lr=5e-5, seeds=2) for name in ("standard", "completep")])
plots.show(plots.coordinates(check))

# %%
slopes(check).pivot_table(index=["what", "step"], columns=["parametrization", "axis"], values="slope").round(2)

# %% [markdown]
# ## Where is the best learning rate?
# Three widths at 8 layers and three depths at width 96, each at five rates: 204,800 tokens of Wikipedia and news, vocabulary
# 1,024, one seed. `paramalloc sweep transfer` and `transfer_embedding` train them again, in about an hour on two cores.

# %%
results = select_runs(config)
best = optima(results)
plots.show(plots.best_rates(results[results.embed_lr == 3], best[best.embed_lr == 3]))

# %% [markdown]
# How far the best rate moves from the smallest to the largest shape, in octaves, and what a shape loses at most (nats per
# token) when it takes the best rate of the middle one, 96 × 8.

# %%
moved = moves(results, base=(96, 8))
moved.style.format({"octaves": "{:+.1f}", "regret": "{:.3f}", "embed_lr": "{:g}"}).hide()

# %% [markdown]
# ## What does the embedding want?
# Its tables learn at `embed_lr` times the rate of the rest. Lowest dev loss over all rates, by multiplier and width:

# %%
best.query("n_layers == 8").pivot_table(index=["parametrization", "embed_lr"], columns="d_model", values="best_loss").round(3)

# %% [markdown]
# ## So

# %%
verdict(results, base=(96, 8))
