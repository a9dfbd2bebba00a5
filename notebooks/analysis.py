# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Where should a small language model keep its parameters?

# %% tags=["parameters"]
runs: str = ""  # which runs: empty for all in `outputs`, a sweep by its name or YAML file (grid), several joined by +, or a results.csv
dataset: str = ""  # only runs of this dataset; empty for the sweep's own, or any
profile: str = ""  # sizes of the sweep's cells: auto, quick, reference or study; empty for the sweep's own
name: str = "all"  # the report's name, its folder under outputs/reports
outputs: str = "outputs"  # the folder that holds the runs; the report goes there too

# %%
from paramalloc import plots, report
from paramalloc.analyze import cells_table, verdict
from paramalloc.config import AnalysisConfig
from paramalloc.runs import load_curves, load_frequency
from paramalloc.sweep import select_runs

config = AnalysisConfig.from_notebook(globals())
results = select_runs(config)
table = cells_table(results)
answer = verdict(results)
answer

# %% [markdown]
# Every cell below spends the same parameter budget in another way: a requested share of it on the embedding, and a
# requested GLU expansion of the MLP. The cells train on the same tokens; the lower dev loss (nats per token) wins.

# %%
figures = {"share_glu_heatmap": plots.share_glu_heatmap(table)}
plots.show(figures["share_glu_heatmap"])

# %% [markdown]
# ## The cells
# Layers are whole numbers, so what was realised differs from what was requested. The analysis uses the realised.

# %%
report.readable(table)

# %% [markdown]
# Is any of them a language model at all? It must at least beat knowing how frequent each token is.

# %%
report.corpus(table)

# %% [markdown]
# ## Where the parameters are
# With a tied embedding, vocabulary times width is the share. The rest is layers: the wider their MLP, the fewer.

# %%
figures["allocation_bars"] = plots.allocation_bars(table)
plots.show(figures["allocation_bars"])

# %% [markdown]
# ## Learning
# Perplexity of a fixed dev probe at equal tokens. A run that was stopped early ends where it was stopped.

# %%
curves = load_curves(config.output_folder, table.run_ids.explode().dropna())
figures["learning_curves"] = plots.learning_curves(curves, table)
plots.show(figures["learning_curves"])

# %% [markdown]
# ## Where does the loss come from?
# Tokens are grouped by how frequent they are in the training text; a larger embedding should show first in the rare ones.

# %%
figures["by_frequency"] = plots.by_frequency(table, load_frequency(config.output_folder, table.run_ids.explode().dropna()))
plots.show(figures["by_frequency"])

# %% [markdown]
# ## What does a low loss cost?
# A cell is Pareto-efficient if no other one is at least as good in both and better in one.

# %%
report.fronts(table)

# %%
figures["pareto_speed"] = plots.pareto(table, "tokens_per_s")
plots.show(figures["pareto_speed"])

# %% [markdown]
# The same for who uses the model: the time between two tokens of one sequence.

# %%
figures["pareto_decode"] = plots.pareto(table, "decode_ms_per_token")
plots.show(figures["pareto_decode"])

# %% [markdown]
# Counted in operations the cells differ little: the weights are as many, only attention grows with the depth. Many thin
# layers are slower than a few wide ones all the same.

# %%
figures["pareto_flops"] = plots.pareto(table, "train_flops")
plots.show(figures["pareto_flops"])

# %% [markdown]
# ## Limits

# %%
report.limits(table, results)

# %% [markdown]
# ## Runs without a final loss

# %%
report.unfinished(results)

# %% [markdown]
# ## Provenance

# %%
report.provenance(results, report.command(config))

# %% [markdown]
# ## The record
# RESULTS.md holds this report as text, results.csv one row per run; both are rewritten by the next execution.

# %%
folder = config.output_folder / "reports" / config.name
report.write_results(table, results, answer, figures, folder, report.command(config))
