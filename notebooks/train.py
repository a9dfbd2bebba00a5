# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How well does one allocation learn?
#
# A cell of the study splits a parameter budget between embedding, depth, attention and MLP, and
# trains the model with one recipe. Change a parameter below and Run All, or set it from a shell:
# `papermill notebooks/train.ipynb OUT.ipynb -p glu 4`.

# %%
from typing import Union

# %% tags=["parameters"]
total_params: int = None  # parameters in all, 1M (quick) or 10M (study) by the profile
vocab_size: int = None  # tokens in the vocabulary, end-of-text included, at most 65,536
embed_share: float = 0.35  # requested share of the embedding in all parameters
glu: float = 2.66  # requested expansion of the MLP, d_ff over d_model
embedding: str = "tied"  # tied, untied (two tables) or factorized (d_embed and a projection)
mlp: str = "swiglu"  # swiglu, or relu2 (no gate, with as many parameters)
multiple: int = None  # d_model, d_ff and d_head are multiples of this
tolerance: float = None  # how far the realised total may be from total_params, as a fraction
d_model: int = None  # width, instead of the allocator's
n_layers: int = None  # depth, instead of the allocator's
n_heads: int = None  # attention heads, instead of the allocator's
n_kv_heads: int = None  # key and value heads (grouped-query attention), n_heads by default
d_head: int = None  # width of a head, instead of the allocator's
d_ff: int = None  # width of the MLP, instead of the allocator's
d_embed: int = None  # width of a factorized embedding's table, instead of the allocator's
dataset: str = "builtin"  # builtin, wikitext-2, wikitext-103, wmt, or your file or folder; + joins
tokens: int = None  # training budget in tokens, by the profile
seq_len: int = None  # tokens in a window
batch_tokens: int = None  # tokens per optimizer step
parametrization: str = "completep"  # completep (one lr suits all shapes) or standard
optimizer: str = "adamw"  # adamw, or muon for the matrices
lr: Union[float, list] = None  # peak learning rate, by the profile, or several (a run each)
embed_lr: float = None  # learning rate of the embedding, as a multiple of lr, by the profile
warmup: float = 0.1  # fraction of the steps in which lr rises; then it falls linearly to zero
weight_decay: float = 0.1  # decoupled weight decay of the matrices
grad_clip: float = 1.0  # largest norm of the gradient
seed: Union[int, list] = 0  # weights and data order, or several (a run each); 1000 up tunes lr
probes: int = None  # how often dev is probed in a run, at equal token counts in all cells
probe_tokens: int = None  # dev tokens in a probe; the whole split is scored at the end
early_stop: str = None  # kill, flag or off, for a run clearly worse than the baseline
stop_margin: float = 0.5  # dev perplexity above the baseline's that counts as worse
stop_patience: int = None  # tokens in a row that it must last, 1M at a budget of 50M
stop_grace: int = None  # tokens before which nothing is stopped, a tenth of the budget
baseline_share: float = 0.35  # embed_share of the baseline cell, fixed once a run is trained
baseline_glu: float = 2.66  # glu of the baseline cell, fixed once a run is trained
baseline_lr: float = None  # learning rate of the baseline cell, where it is not this cell's
checkpoint_seconds: float = 60.0  # seconds between checkpoints; an interrupted run resumes there
smallbench: str = None  # full, quick (50 pairs a paradigm, 200 questions a set) or off
smallbench_data: str = "../shared/data"  # folder of blimp and smallbench, or hub to download them
precision: str = "auto"  # auto, bf16, fp16 or fp32
profile: str = "auto"  # what fills the sizes left open: study, quick, reference or auto
device: str = "auto"  # auto, cpu, cuda or cuda:N
compile: str = "auto"  # torch.compile on, off, or auto (on with CUDA)
graph: str = "auto"  # a step as one CUDA graph, on, off, or auto (on with CUDA, bf16 and adamw)
outputs: str = "outputs"  # folder of everything that is written

# %%
from paramalloc.config import TrainConfig

config = TrainConfig.from_notebook(globals())
config

# %% [markdown]
# ## What shape does the budget buy?
# Layers are whole numbers, so the realised share and expansion differ a little from the requested
# ones.

# %%
from paramalloc.allocation import allocation

allocation(config)

# %% [markdown]
# ## What does the model read?
# The corpus is prepared once and found again: a tokenizer trained on the train split, and three
# files of tokens.

# %%
from paramalloc.data import account, describe, prepare
from paramalloc.widgets import LiveStages, LiveTraining

progress = LiveStages()
corpus = prepare(config.dataset, config.vocab_size, config.output_folder, config.tokens, progress)
print(account(corpus, config.tokens))
describe(corpus)

# %% [markdown]
# ## How does it learn?
# A fixed probe of dev text is scored on the way, at the same token counts in every cell. Both
# splits are scored in full at the end.

# %%
from paramalloc.training import train

results = train(config, corpus, LiveTraining())

# %%
from paramalloc.plots import loss_curve, show
from paramalloc.runs import load_metrics

run_id = results[0]["run_id"]
show(loss_curve(load_metrics(config.output_folder, run_id)))

# %% [markdown]
# ## What came out?
# Losses are in nats per token. `unigram_loss` is what word frequencies alone reach: a language
# model must beat it. `tokens_per_s` is of this training, beside whatever else ran:
# `paramalloc time` measures how fast a shape trains and generates alone.

# %%
from paramalloc.runs import summarize_results

summarize_results(results)

# %% [markdown]
# ## Does it know grammar?
# BLiMP asks which of two sentences is grammatical: 0 is guessing, 1 is perfect. The controls are
# the untrained model and word counts. The other sets are diagnostics. A model trained on tokenised
# text (WikiText) meets all of them out of domain.

# %%
from paramalloc.evaluation import read_sample, read_smallbench

folder = config.output_folder / "runs" / run_id
read_smallbench(folder)

# %% [markdown]
# ## How does it write?
# From nothing, drawn from the nucleus of 0.9 at temperature 0.8:

# %%
print(read_sample(folder))

# %% [markdown]
# ## What now?
# The run is recorded under `outputs/runs` and is never trained twice. One cell alone does not say
# which allocation is best: train others, then `notebooks/analysis` compares them.
