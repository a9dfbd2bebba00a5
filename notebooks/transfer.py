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
# The grid compares thin, deep models with wide, shallow ones. One learning rate for all would
# favour the shapes that happen to want it. `completep` (muP for the width, CompleteP for the depth)
# rescales one base rate to each shape; `standard` does not. This notebook measures both.
#
# - **A step changes as much in every shape.** Under `completep` the change of the activations does
#   not grow with width or depth; under `standard` it does.
# - **The best base rate hardly moves.** Under `completep` it stays within about half an octave;
#   under `standard` it falls by more than two.
# - **One rate costs little.** So `completep` is the default, and the grid trains all cells at one
#   base rate.
#
# ## Choose the runs
# The published ones need no training. To train your own: `paramalloc sweep transfer --yes`, then
# `runs` transfer; with `transfer_embedding` as well, about an hour on two cores.

# %% tags=["parameters"]
runs: str = "outputs/reference/transfer/results.csv"  # a results.csv, or sweeps joined by +
dataset: str = ""  # dataset of the sweeps' runs; empty for their own
profile: str = "quick"  # sizes of the sweeps' cells
outputs: str = "outputs"  # folder of the sweeps' runs

# %%
from paramalloc import plots
from paramalloc.config import TransferConfig

config = TransferConfig.from_notebook(globals())

# %% [markdown]
# ## What does a step change?
# Shapes of width 64 to 512 and depth 2 to 32 take ten steps, each at the same small rate (1/40 of
# the profiles', so that the final hidden state has not turned as far as it can). A flat line means
# that a step does as much in a large model as in a small one. The logits may fall with the width,
# as they are small at the start.

# %%
import pandas as pd

from paramalloc.training import coordinate_check

names = ("standard", "completep")
check = pd.concat([coordinate_check(name, lr=5e-5, seeds=2) for name in names])
plots.show(plots.coordinates(check))

# %% [markdown]
# The slopes of these lines are exponents: 1 means that the change doubles as the size does, 0 that
# it stays.

# %%
from paramalloc.analysis import slopes

columns = ["parametrization", "axis"]
slopes(check).pivot_table(index=["what", "step"], columns=columns, values="slope").round(2)

# %% [markdown]
# ## Where is the best learning rate?
# Three widths at 8 layers and three depths at width 96 are trained at up to five rates each, for
# 204,800 tokens of Wikipedia and news at vocabulary 1,024. Each line is a shape; its lowest point
# should lie at the same rate as the others'. The embedding's tables learn at `embed_lr` times the
# rate; the chart shows a multiplier of 3, which both were trained with.

# %%
from paramalloc.analysis import optima
from paramalloc.sweep import select_runs

results = select_runs(config)
best = optima(results)
plots.show(plots.best_rates(results.query("embed_lr == 3"), best.query("embed_lr == 3")))

# %% [markdown]
# ## How far does it move, and what does that cost?
# `octaves` is the shift of the best rate, in doublings, from the smallest to the largest shape;
# `at_least` marks a best rate at the edge of those tried. `regret` is the most that a shape loses,
# in nats per token, with the best rate of the middle shape, 96 × 8, in place of its own.
# Multipliers other than 3 were trained under `completep` alone.

# %%
from paramalloc.analysis import moves, nats

shifts = moves(results, base=(96, 8))
shifts.style.format({"octaves": "{:+.1f}", "regret": nats, "embed_lr": "{:g}"}, na_rep="—").hide()

# %% [markdown]
# ## How fast should the embedding learn?
# The lowest dev loss over all rates, by multiplier and width. The best multiplier falls as the
# budget of tokens grows (see `outputs/reference/LOG.md`), so the profiles hold 10 (quick), 5
# (reference) and 3 (study).

# %%
widths = best.query("n_layers == 8")
index = ["parametrization", "embed_lr"]
widths.pivot_table(index=index, columns="d_model", values="best_loss").round(3)

# %% [markdown]
# ## The answer
# Of the multiplier that both were trained with:

# %%
from paramalloc.analysis import transfer_verdict

transfer_verdict(results, base=(96, 8))

# %% [markdown]
# Not tested is whether a rate transfers across head sizes. Heads are 48 wide here and 32 in the
# check of a step; in the study's grid they are 28 to 60 wide. Attention is scaled by 1 / √d_head in
# all of them.
