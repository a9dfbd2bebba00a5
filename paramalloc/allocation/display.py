"""How an allocation is shown: as rows of words, as HTML, and in a table of several."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from .hardware import roofline
from .ledger import flops_per_token, memory_bytes

if TYPE_CHECKING:
    import pandas as pd

    from .allocator import Allocation

SEQ_LEN = 512  # tokens of context, for attention and the cache
BATCH_TOKENS = 32_768  # tokens per optimizer step, for activations
CARD = "H100 SXM"


def shape_rows(allocation: Allocation) -> list[tuple[str, str]]:
    """(name, words) of the shape, realised and requested values, and the parameters."""
    model = allocation.model
    params = allocation.params
    shape = f"{_count(model.n_layers, 'layer')} of width {model.d_model}"
    shape += f", {_count(model.n_heads, 'head')} of {model.d_head}"
    if model.n_kv_heads != model.n_heads:
        shape += f" (key and value: {model.n_kv_heads})"
    rows = [("shape", f"{shape}, d_ff {model.d_ff}")]
    if model.d_embed:
        rows.append(("d_embed", f"{model.d_embed}"))

    share = f"{allocation.embed_share:.2%}"
    if allocation.requested_share is not None:
        share += f" (requested {100 * allocation.requested_share:.3g}%)"
    glu = f"{allocation.glu:.3f}"
    if allocation.requested_glu is not None:
        glu += f" (requested {allocation.requested_glu:.3g})"
    rows += [("embed_share", share), ("glu", glu)]

    for name, count in params.items():
        if count:
            rows.append((name, f"{count:,} ({count / params['total']:.1%})"))
    return rows


def cost_rows(
    allocation: Allocation, seq_len: int, batch_tokens: int, hardware: str
) -> list[tuple[str, str]]:
    """(name, words) of FLOPs, memory and roofline."""
    model = allocation.model
    flops = flops_per_token(model, seq_len)
    memory = memory_bytes(model, seq_len, batch_tokens)
    roof = roofline(model, hardware, seq_len, batch_tokens)

    def flops_of(name: str) -> str:
        causal = f"{flops[name] / 1e6:,.1f}M per token, causal attention"
        return f"{causal} ({flops[name + '_full'] / 1e6:,.1f}M with the full score matrix)"

    def mebibytes(name: str) -> str:
        return f"{memory[name] / 2**20:,.1f} MiB"

    generating = (
        f"{mebibytes('weights')} of weights in bf16, "
        f"{memory['kv_per_token']:,} bytes of cache per token"
    )
    training = (
        f"{mebibytes('training')}: {mebibytes('parameters')} parameters, "
        f"{mebibytes('gradients')} gradients, {mebibytes('optimizer')} optimizer, "
        f"{mebibytes('activations')} activations of {batch_tokens:,} tokens"
    )
    speed = (
        f"{hardware}: training at most {roof['train_tokens_per_s']:,.0f} tokens/s "
        f"({roof['train_bound']} binds), generating {roof['decode_tokens_per_s']:,.0f} tokens/s "
        f"({roof['decode_bound']} binds)"
    )
    return [
        ("forward FLOPs", flops_of("forward")),
        ("train FLOPs", flops_of("train")),
        ("generating", generating),
        ("training", training),
        ("roofline", speed),
    ]


def html_table(rows: list[tuple[str, str]]) -> str:
    """(name, words) as a two-column table."""
    left = "style='text-align:left'"
    lines = [
        f"<tr><th {left}>{name}</th><td {left}>{escape(words)}</td></tr>" for name, words in rows
    ]
    return f"<table>{''.join(lines)}</table>"


def comparison(
    allocations: list[Allocation],
    seq_len: int = SEQ_LEN,
    batch_tokens: int = BATCH_TOKENS,
    hardware: str = CARD,
) -> pd.DataFrame:
    """A table with a row for each allocation, requested next to realised."""
    import pandas as pd  # only here: to allocate needs no more than the standard library

    rows = [_table_row(shape, seq_len, batch_tokens, hardware) for shape in allocations]
    return pd.DataFrame(rows)


def _table_row(
    allocation: Allocation, seq_len: int, batch_tokens: int, hardware: str
) -> dict[str, Any]:
    model = allocation.model
    train_flops = flops_per_token(model, seq_len)["train"]
    roof = roofline(model, hardware, seq_len, batch_tokens)
    requested_share = ""
    if allocation.requested_share is not None:
        requested_share = f"{allocation.requested_share:.1%}"
    row: dict[str, Any] = {
        "requested share": requested_share,
        "share": f"{allocation.embed_share:.2%}",
        "requested glu": f"{allocation.requested_glu or ''}",
        "glu": f"{allocation.glu:.3f}",
    }
    for name in ("d_model", "n_layers", "n_heads", "d_head", "d_ff"):
        row[name] = getattr(model, name)
    if model.d_embed:
        row["d_embed"] = model.d_embed
    row["total"] = f"{allocation.params['total']:,}"
    row["train MFLOPs/token"] = f"{train_flops / 1e6:.1f}"
    row[f"at most tokens/s ({hardware})"] = f"{roof['train_tokens_per_s']:,.0f}"
    return row


def _count(count: int, noun: str) -> str:
    plural = "s" if count > 1 else ""
    return f"{count} {noun}{plural}"
