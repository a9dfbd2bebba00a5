# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What does the model read?
#
# A corpus becomes a byte-level BPE tokenizer, learnt from its train split alone, and one stream of token ids per split.
# This notebook makes both, once, and shows them.

# %% tags=["parameters"]
dataset: str = "builtin"  # builtin, wikitext-2, wikitext-103, wmt, or your file or folder; + joins
vocab_size: int = None  # tokens in the vocabulary, at most 65,536, by the profile
tokens: int = None  # tokens to stream of a corpus that is too large to load (wmt); by the profile
profile: str = "auto"  # what fills the sizes that are not set here: auto, quick or study
outputs: str = "outputs"  # the folder to write to; the corpus goes to its data folder

# %%
import pandas as pd

from paramalloc import plots
from paramalloc.config import DataConfig
from paramalloc.data import EOT, describe, frequent_tokens, longest_tokens, prepare, token_counts
from paramalloc.widgets import LiveStages

pd.set_option("styler.html.mathjax", False)  # a dollar is a token here, not a formula
config = DataConfig.from_notebook(globals())
config

# %%
corpus = prepare(
    config.dataset, config.vocab_size, config.output_folder, config.tokens, LiveStages()
)
print(f"{corpus.name}: fingerprint {corpus.fingerprint[:12]}, in {corpus.folder.name}")

# %% [markdown]
# ## How much text is it?
#
# Bytes count the UTF-8 text, tokens include the one that closes each document. The unigram entropy (nats per token) is
# the loss of a model that knows only how frequent each token is in train: a model that learnt anything is below it.

# %%
describe(corpus).style.format("{:,.0f}").format(
    "{:.2f}", subset=["bytes_per_token", "unigram_entropy"]
)

# %% [markdown]
# ## What are the tokens?
#
# The most frequent ones are punctuation and short words, often with the space before them. The longest ones show what
# the corpus is about, and whether something repeats in it that should not.

# %%
frequent_tokens(corpus, 12).style.format(escape="html").hide()

# %%
longest_tokens(corpus, 12).style.format(escape="html").hide()

# %% [markdown]
# Few tokens do most of the work: on logarithmic axes, counts fall with the rank in nearly a straight line (Zipf's law).
# The rows of the embedding at the far right are trained by few examples.

# %%
plots.show(plots.zipf(token_counts(corpus)))

# %% [markdown]
# ## A document, before and after
#
# The first document of dev as text, then as the model reads it: a bar ends each token.

# %%
stream = corpus.split("valid")[:2000].tolist()
ids = stream[: stream.index(EOT)] if EOT in stream else stream
print(corpus.tokenizer.decode(ids)[:400])

# %%
pieces = corpus.tokenizer.decode_batch([[i] for i in ids[:80]])
print(*pieces, sep="|")

# %% [markdown]
# No byte is lost: decoding gives the text back, whatever it holds.

# %%
text = "naïve 👩‍🔬 <|endoftext|> \t ok"
assert corpus.tokenizer.decode(corpus.tokenizer.encode(text).ids, skip_special_tokens=False) == text
