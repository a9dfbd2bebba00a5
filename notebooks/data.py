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
# A model reads whole numbers. This notebook turns a corpus into them: a byte-level BPE tokenizer,
# learnt from the train split alone, and a stream of token ids for each split.
#
# - **Few tokens do most of the work.** Of the 4,096 of the built-in corpus about 140 make up half
#   of the text, and a third occur under 100 times.
# - **Nothing is lost.** Every text comes back from its tokens, byte for byte.
# - **It is made once.** The same text and vocabulary are found again, by a hash.
#
# ## Choose a text
# The built-in corpus needs no download. Name a known dataset, or a file or folder of your own, here
# or with papermill's `-p dataset`.

# %% tags=["parameters"]
dataset: str = "builtin"  # builtin, wikitext-2, wikitext-103, wmt, or your file or folder; + joins
vocab_size: int = None  # tokens in the vocabulary, at most 65,536, by the profile
tokens: int = None  # tokens to stream of a corpus that is too large to load (wmt); by the profile
profile: str = "auto"  # what fills the sizes that are not set here: auto, quick or study
outputs: str = "outputs"  # the folder to write to; the corpus goes to its data folder

# %%
from paramalloc.config import DataConfig

config = DataConfig.from_notebook(globals())
config

# %%
from paramalloc.data import prepare
from paramalloc.widgets import LiveStages

settings = (config.dataset, config.vocab_size, config.output_folder, config.tokens)
corpus = prepare(*settings, progress=LiveStages())
print(f"{corpus.name}: fingerprint {corpus.fingerprint[:12]}, in {corpus.folder.name}")

# %% [markdown]
# ## What went where?
# A file belongs to the split that its name holds as a word; a split without a file is held out of
# train. An epoch is one reading of the train text: more than about four teach little.

# %%
from paramalloc.data import account

print(account(corpus, config.tokens))

# %% [markdown]
# ## How much text is it?
# Bytes count the UTF-8 text, tokens include the one that closes each document. The unigram entropy,
# in nats per token, is the loss of a model that knows only how frequent each token is in train. A
# trained model must be below it.

# %%
from paramalloc.data import describe

table = describe(corpus).style.format("{:,.0f}")
table.format("{:.2f}", subset=["bytes_per_token", "unigram_entropy"])

# %% [markdown]
# ## What are the tokens?
# The most frequent ones are punctuation and short words, often with the space before them.

# %%
import pandas as pd

from paramalloc.data import frequent_tokens, longest_tokens

pd.set_option("styler.html.mathjax", False)  # a dollar is a token here, not a formula
frequent_tokens(corpus, 8).style.format(escape="html").hide()

# %% [markdown]
# The longest ones show what the corpus is about, and whether something repeats in it that should
# not.

# %%
longest_tokens(corpus, 8).style.format(escape="html").hide()

# %% [markdown]
# ## How unevenly are they used?
# Counts fall with the rank in nearly a straight line on logarithmic axes (Zipf's law). The rows of
# the embedding at the far right are trained by few examples.

# %%
from paramalloc import plots
from paramalloc.data import token_counts

counts = token_counts(corpus)
plots.show(plots.zipf(counts))

# %%
shares = counts["count"].cumsum() / counts["count"].sum()
half = int((shares < 0.5).sum()) + 1
rare = int((counts["count"] < 100).sum())
print(f"{half} tokens make up half of the text; {rare:,} of {len(counts):,} occur under 100 times.")

# %% [markdown]
# So many rows of the embedding learn from little text. A larger embedding share makes every row
# wider, rare ones too.
#
# ## A document, before and after
# The first document of dev as text, then as the model reads it: a bar ends each token.

# %%
from paramalloc.data import EOT

stream = corpus.split("valid")[:2000].tolist()
ids = stream[: stream.index(EOT)] if EOT in stream else stream
print(corpus.tokenizer.decode(ids)[:400])

# %%
pieces = corpus.tokenizer.decode_batch([[i] for i in ids[:80]])
print(*pieces, sep="|")

# %% [markdown]
# ## Is anything lost?
# No: decoding gives every text back, whatever it holds. The end-of-text string inside a text is
# ordinary text.

# %%
text = "naïve 👩‍🔬 <|endoftext|> \t ok"
encoding = corpus.tokenizer.encode(text)
decoded = corpus.tokenizer.decode(encoding.ids, skip_special_tokens=False)
assert decoded == text
print(f"{len(encoding.ids)} tokens give back: {decoded}")

# %% [markdown]
# The next step is [train](train.ipynb), which trains one allocation on this corpus.
