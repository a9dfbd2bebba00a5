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
runs: str = ""  # all (empty), a sweep's name or file, several joined by +, or a results.csv
dataset: str = ""  # only runs of this dataset; empty for the sweep's own, or any
profile: str = ""  # sizes of the sweep's cells, empty for the sweep's own
name: str = "all"  # the report's name, its folder under outputs/reports
outputs: str = "outputs"  # the folder that holds the runs; the report goes there too

# %% tags=["answer"]
from paramalloc import plots, report
from paramalloc.config import AnalysisConfig
from paramalloc.sweep import select_runs

config = AnalysisConfig.from_notebook(globals())
results = select_runs(config)
report.conclusion(results)

# %% tags=["reasons"]
report.reasons(results)

# %% tags=["scale"]
report.scale(results)

# %%
figures = plots.show_all(share_glu_heatmap=plots.share_glu_heatmap(results))

# %% [markdown]
# Every *cell* spends the same parameter budget differently. It requests a share of it for the
# embedding and a GLU expansion (d_ff / d_model) for the MLP; layers take the rest. With one table
# for input and output (tied), d_model = share × parameters / vocabulary. So a larger share is a
# wider and shallower model, and a larger expansion a shallower one. All cells train on the same
# tokens, and the lowest dev loss (nats per token) wins.

# %% [markdown]
# ## How sure is that?
# Another seed would have given other losses. Each cell is compared with the baseline on the same
# seeds.

# %%
figures |= plots.show_all(difference_forest=plots.difference_forest(results))

# %% [markdown]
# Several cells together are surer than one. Each share is averaged over the expansions, each
# expansion over the shares.

# %%
report.effects(results)

# %%
report.certainty(results)

# %% [markdown]
# ## How early was the order known?
# A pair of cells is right at a smaller budget if its mean losses there have the order of the final
# means. Runs that are cut short share their noise with their end; separate runs do not.

# %%
report.how_early(results)

# %%
figures |= plots.show_all(order_by_budget=plots.order_by_budget(results))

# %% [markdown]
# ## What does a low loss cost?
# A cell is Pareto-efficient if no other one is at least as good in both and better in one. The
# table names the cells on the front as measured, then those that the noise does not rule out. In
# brackets: how probable a place on the front is, given the noise of losses and speeds.

# %%
report.fronts(results)

# %%
figures |= plots.show_all(pareto_speed=plots.pareto(results, "tokens_per_s"))

# %% [markdown]
# The same for who uses the model: the time between two tokens of one sequence.

# %%
figures |= plots.show_all(pareto_decode=plots.pareto(results, "decode_ms_per_token"))

# %% [markdown]
# ## Share, width or depth?
# With a tied embedding the share is the width, and the depth makes room for both: nothing moves
# alone. A surface over both shows where the loss is lowest. Factorized arms keep the width, and
# show whether it is the share or what it displaces.

# %%
report.surface_minimum(results)

# %%
figures |= plots.show_all(response_surface=plots.response_surface(results))

# %%
figures |= plots.show_all(share_tradeoff=plots.share_tradeoff(results))

# %% [markdown]
# ## The cells
# Layers are whole numbers, so the realised share and expansion differ from the requested ones.
# Cells are named and grouped by the request; the surface uses what was realised.

# %%
report.cell_results(results)

# %%
report.cell_shapes(results)

# %%
report.corpus(results)

# %% [markdown] tags=["fold"]
# ## More evidence
# These charts show where the parameters are, how the losses came down, and in which tokens a share
# wins.

# %%
figures |= plots.show_all(
    allocation_bars=plots.allocation_bars(results),
    learning_curves=plots.learning_curves(results),
    by_frequency=plots.frequency_deciles(results),
    equal_spending=plots.equal_spending(results),
)

# %% [markdown]
# ### Further fronts
# Counted in operations the cells differ less than in time. The weights are about as many, attention
# grows with the depth, and many thin layers are slower than a few wide ones.

# %%
figures |= plots.show_all(
    pareto_flops=plots.pareto(results, "train_flops"),
    pareto_memory=plots.pareto(results, "kv_bytes_per_token"),
    smallbench_speed=plots.pareto(results, "tokens_per_s", "smallbench"),
    smallbench_decode=plots.pareto(results, "decode_ms_per_token", "smallbench"),
)

# %% [markdown]
# ### The arms
# Each changes one more thing than the allocation, to see whether the answer holds.

# %%
figures |= plots.show_all(**{arm: plots.arm_chart(results, arm) for arm in plots.ARMS})

# %% [markdown]
# ## Methods

# %%
report.methods(results)

# %% [markdown]
# ## Limits

# %%
report.limits(results)

# %% [markdown]
# ## Runs without a final loss

# %%
report.unfinished(results)

# %% [markdown]
# ## Provenance

# %%
command = report.report_command(config)
report.provenance(results, command)

# %% [markdown]
# RESULTS.md holds this report as text, results.csv one row per run; both are rewritten by the next
# execution.

# %%
folder = config.output_folder / "reports" / config.name
report.write_results(results, figures, folder, command)
