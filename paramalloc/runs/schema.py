"""One table of what is recorded of a run: the columns of result.json and results.csv.

Everything that needs to know a column asks this table: the keys of result.json, how a csv is read,
axis labels, which direction is better, the groups that the analysis uses, the data dictionary.
A parameter of training is a column where its field in config/train.py says what it means.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from ..config import TrainConfig

Kind = Literal["text", "int", "float", "bool", "list"]
Better = Literal["less", "more", ""]
Role = Literal[
    "recorded",  # a parameter, as the config has it
    "same",  # runs compare only where they agree in it
    "rate",  # chosen per cell
    "seed",
    "request",  # what the allocator was asked for
    "shape",  # what tells two cells of one request apart
    "realised",  # one value in all runs of a cell
    "count",  # of parameters
    "measured",  # of a trained model; `paramalloc evaluate` measures it again
    "quality",  # outcome whose seed noise is shared by all cells
    "speed",  # timing; averaged as a factor, by the geometric mean
    "timed",  # `paramalloc time` measures it, alone on the machine
]


@dataclass(frozen=True)
class Column:
    """One column. `better` is the direction of a quality or a cost; `before` is the value of runs
    that are older than the column, None where nothing is known of them."""

    name: str
    kind: Kind
    unit: str
    better: Better
    label: str
    meaning: str
    roles: frozenset[str] = frozenset()
    before: Any = None

    @property
    def title(self) -> str:
        """The title of its axis: `dev loss (nats per token)`; the unit once only."""
        if self.unit in self.label:
            return self.label
        return f"{self.label} ({self.unit})"


def _column(
    name: str,
    kind: Kind,
    unit: str,
    meaning: str,
    *roles: Role,
    better: Better = "",
    label: str = "",
) -> Column:
    return Column(name, kind, unit, better, label or name, meaning, frozenset(roles))


_KINDS: dict[type, Kind] = {str: "text", int: "int", float: "float"}


def _parameter(name: str, *roles: Role) -> Column:
    """The column of a parameter, from what its field says."""
    spec = TrainConfig.__dataclass_fields__[name]
    marks = spec.metadata
    all_roles = {"recorded", *roles}
    if marks["role"]:
        all_roles.add(marks["role"])
    elif marks["identity"]:
        all_roles.add("same")
    before = spec.default if marks["added"] else marks.get("before")
    kind, unit, meaning = _KINDS[marks["kind"]], marks["unit"], marks["recorded"]
    return Column(name, kind, unit, "", name, meaning, frozenset(all_roles), before)


# fmt: off
_TABLE = (
    _column("run_id", "text", "",
            "hash of parameters, data and recipe version; names the run's folder"),
    _column("status", "text", "", "completed, stopped_early or diverged"),

    # the shape
    _column("requested_share", "float", "", "embedding in all parameters, as requested", "request"),
    _column("requested_glu", "float", "", "d_ff / d_model, as requested", "request"),
    _column("total_params", "int", "", "all parameters",
            "count", "realised", better="less", label="parameters"),
    _column("embed_params", "int", "", "parameters of embedding and head", "count", "realised"),
    _column("embed_share", "float", "", "embedding and head in all parameters, realised",
            "realised"),
    _column("glu", "float", "",
            "d_ff / d_model, realised; without a gate, of the gated MLP as large", "realised"),
    _column("d_model", "int", "", "width", "shape"),
    _column("n_layers", "int", "", "depth", "shape"),
    _column("n_heads", "int", "", "attention heads", "shape"),
    _column("n_kv_heads", "int", "", "key and value heads"),
    _column("d_head", "int", "", "width of a head", "shape"),
    _column("d_ff", "int", "", "width of the MLP", "shape"),
    _column("d_embed", "int", "", "width of a factorized embedding's table, empty for others",
            "shape"),
    _parameter("mlp"),
    _parameter("vocab_size"),
    _parameter("embedding"),

    # the recipe
    _parameter("seq_len"),
    _parameter("batch_tokens"),
    _parameter("parametrization"),
    _parameter("optimizer"),
    _parameter("lr"),
    _parameter("embed_lr"),
    _parameter("warmup"),
    _parameter("weight_decay"),
    _parameter("grad_clip"),
    _parameter("seed"),
    _parameter("tokens", "realised"),
    _column("tokens_trained", "int", "tokens", "how far the run came"),
    _column("dev_curve", "list", "tokens, nats per token",
            "the probes: [tokens, loss of the dev probe]"),

    # measured of the trained model
    _column("dev_loss", "float", "nats per token", "loss of the dev split, every token scored once",
            "measured", "quality", better="less", label="dev loss"),
    _column("dev_ppl", "float", "", "exp(dev_loss)",
            "measured", "quality", better="less", label="dev perplexity"),
    _column("dev_bpb", "float", "bits per byte",
            "nats of the dev split over ln 2 and its UTF-8 bytes",
            "measured", "quality", better="less", label="bits per byte of the dev split"),
    _column("dev_word_ppl", "float", "",
            "perplexity per white-space word (WikiText: plus one per line)",
            "measured", better="less"),
    _column("test_loss", "float", "nats per token", "as dev_loss, of the test split",
            "measured", better="less"),
    _column("test_ppl", "float", "", "as dev_ppl, of the test split", "measured", better="less"),
    _column("test_bpb", "float", "bits per byte", "as dev_bpb, of the test split",
            "measured", better="less"),
    _column("test_word_ppl", "float", "", "as dev_word_ppl, of the test split",
            "measured", better="less"),
    _column("smallbench", "float", "mean accuracy above chance",
            "BLiMP over 12 phenomena: 0 is guessing, 1 is perfect",
            "measured", "quality", better="more", label="SmallBench"),
    _column("smallbench_se", "float", "", "standard error of smallbench over items, within one run",
            "measured", better="less"),
    _column("smallbench_size", "text", "", "full, quick or off; two sizes do not compare",
            "measured"),
    _column("blimp_accuracy", "float", "", "BLiMP: pairs whose grammatical sentence is likelier",
            "measured", better="more"),
    _column("lambada_accuracy", "float", "", "LAMBADA: last words that greedy decoding gets right",
            "measured", better="more"),
    _column("lambada_bpb", "float", "bits per byte", "LAMBADA: of the last word",
            "measured", better="less"),
    _column("arc_easy_accuracy", "float", "",
            "ARC-Easy: questions whose right answer is the likeliest", "measured", better="more"),
    _column("arc_easy_accuracy_norm", "float", "", "ARC-Easy: the same, likelihood per character",
            "measured", better="more"),
    _column("arc_easy_bpb", "float", "bits per byte", "ARC-Easy: of the right answer",
            "measured", better="less"),
    _column("piqa_accuracy", "float", "", "PIQA: as arc_easy_accuracy", "measured", better="more"),
    _column("piqa_accuracy_norm", "float", "", "PIQA: as arc_easy_accuracy_norm",
            "measured", better="more"),
    _column("piqa_bpb", "float", "bits per byte", "PIQA: as arc_easy_bpb",
            "measured", better="less"),
    _column("decode_ms_per_token", "float", "milliseconds",
            "time between two tokens of one sequence",
            "timed", "speed", better="less", label="decoding one token"),
    _column("decode_ms_per_token_32", "float", "milliseconds", "the same, of 32 sequences together",
            "timed", better="less"),
    _column("time_to_first_token_ms", "float", "milliseconds",
            "from one prompt (half a window) to its first new token",
            "timed", better="less"),
    _column("prefill_tokens_per_s", "float", "tokens per second",
            "prompt tokens, 32 sequences together", "timed", better="more"),
    _column("kv_bytes_per_token", "int", "bytes per token", "key-value cache",
            "timed", "realised", better="less", label="key-value cache"),
    _column("weight_bytes", "int", "bytes", "the weights in memory at inference",
            "timed", better="less"),
    _column("inference_memory_bytes", "int", "bytes",
            "the most held at a time at inference, 32 sequences together",
            "timed", better="less"),
    _column("inference_device", "text", "", "where inference was measured", "timed"),
    _column("out_of_domain", "bool", "",
            "whether the corpus is tokenised text, which SmallBench's is not", "measured"),
    _column("dev_by_frequency", "list", "tokens, nats per token",
            "[tokens, loss] by decile of token frequency, frequent to rare", "measured"),
    _column("dev_by_group", "list", "tokens, nats", "[tokens, nats] by group of dev documents",
            "measured"),

    # what training took
    _column("flops_per_token", "float", "FLOPs per token", "of a training step, by the ledger",
            better="less"),
    _column("train_flops", "float", "FLOPs", "flops_per_token × tokens_trained",
            better="less", label="training compute"),
    _column("tokens_per_s", "float", "tokens per second",
            "of training steps, without compilation and evaluation",
            "speed", "timed", better="more", label="training speed"),
    _column("mfu", "float", "",
            "FLOPs per second as part of the device's peak, where that is known",
            "timed", better="more"),
    _column("outside_steps_share", "float", "", "part of wall_s that was not spent on steps",
            better="less"),
    _column("peak_memory_bytes", "int", "bytes", "the most held at a time in training",
            better="less"),
    _column("wall_s", "float", "seconds", "from start to result, interruptions left out",
            better="less"),

    # the text and the machine
    _parameter("dataset"),
    _column("data_fingerprint", "text", "", "hash of the prepared corpus and its tokenizer",
            "same"),
    _column("unigram_loss", "float", "nats per token",
            "entropy of the dev split's token frequencies", "realised", label="unigram entropy"),
    _column("early_stop", "text", "",
            "kill, flag or off; empty in older rows that were not compared"),
    _column("flagged_at_tokens", "int", "tokens",
            "where early stop would have ended the run, or did; of `flag`, from the curves"),
    _column("steps", "int", "steps", "optimizer steps that were done"),
    _column("precision", "text", "", "of the matrix products: fp32, bf16 or fp16"),
    _column("device", "text", "", "the CPU or GPU that trained"),
    _column("threads", "int", "", "CPU threads of the process"),
    _column("compiled", "bool", "", "whether torch.compile was used"),
    _parameter("profile"),
    _column("recipe", "int", "", "version of the trainer; runs of two versions do not compare",
            "same"),
    _column("params_attention", "int", "", "parameters of attention", "count", "realised"),
    _column("params_mlp", "int", "", "parameters of the MLPs", "count", "realised"),
    _column("params_norm", "int", "", "parameters of the norms", "count", "realised"),
    _column("created", "text", "", "when training began, UTC"),
    _column("commit", "text", "", "of the code, `-dirty` where files differed from it"),
    _column("torch", "text", "", "version of PyTorch"),
    _parameter("baseline_share"),
    _parameter("baseline_glu"),

    # the rule of early stop
    _column("baseline_run", "text", "",
            "run_id of the baseline; empty for the baseline itself, and where early stop is off"),
    _column("compared", "bool", "", "whether the baseline had a probe to compare with"),
    _column("stop_margin", "float", "",
            "dev perplexity above the baseline's that counts as worse"),
    _column("stop_patience", "int", "tokens", "how long it must last"),
    _column("stop_grace", "int", "tokens", "before which nothing is compared"),

    # who measured the speeds
    _column("speeds", "text", "",
            "alone: by `paramalloc time`; training: of the run itself, beside what else ran",
            "timed"),
    _column("speeds_threads", "int", "", "CPU threads that measured the speeds alone", "timed"),
    _column("speeds_width", "float", "",
            "widest 95 % interval of a speed measured alone, as part of it; empty: unknown",
            "timed", better="less"),
    _column("graphed", "bool", "",
            "whether tokens_per_s is of steps that were replayed as one CUDA graph", "timed"),
    _column("epochs", "float", "", "readings of the train text: tokens_trained / its tokens"),
    _column("beside", "text", "",
            "run_ids of the other runs of these outputs that this machine held as training began"
            " or ended; `nobody` where it held none"),
)
# fmt: on


def _later_parameters() -> list[Column]:
    """Recorded parameters that the table does not place; they come last."""
    placed = {column.name for column in _TABLE}
    recorded = [spec.name for spec in fields(TrainConfig) if spec.metadata["recorded"]]
    return [_parameter(name) for name in recorded if name not in placed]


COLUMNS: dict[str, Column] = {column.name: column for column in (*_TABLE, *_later_parameters())}


def columns(kind: Kind | None = None, role: Role | None = None) -> list[Column]:
    """The columns of a kind and of a role, in the order of results.csv; without them, all.

    >>> [column.title for column in columns(role="speed")]
    ['decoding one token (milliseconds)', 'training speed (tokens per second)']
    """
    of_kind = [column for column in COLUMNS.values() if kind in (None, column.kind)]
    return [column for column in of_kind if role is None or role in column.roles]


def column_names(kind: Kind | None = None, role: Role | None = None) -> list[str]:
    """The names of `columns`.

    >>> column_names(role="request")
    ['requested_share', 'requested_glu']
    """
    return [column.name for column in columns(kind, role)]


RESULT_COLUMNS = column_names()  # the keys of result.json
MEASURED = column_names(role="measured")
TIMED = column_names(role="timed")
# These stay text, however much an id of hex digits looks like a number.
TEXT_COLUMNS = column_names(kind="text")
LIST_COLUMNS = column_names(kind="list")  # JSON text in results.csv
METRIC_COLUMNS = ["step", "tokens", "train_loss", "dev_loss", "dev_ppl", "tokens_per_s"]


def data_dictionary() -> str:
    """The columns of results.csv as a Markdown table."""
    lines = ["| column | kind | unit | better | meaning |", "| --- | --- | --- | --- | --- |"]
    for column in COLUMNS.values():
        cells = [f"`{column.name}`", column.kind, column.unit, column.better, column.meaning]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
