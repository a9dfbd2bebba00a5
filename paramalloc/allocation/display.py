"""Shapes side by side as a table."""

from .allocator import Allocation
from .hardware import roofline
from .ledger import flops_per_token


def comparison(
    shapes: list[Allocation],
    seq_len: int = 512,
    batch_tokens: int = 32_768,
    hardware: str = "H100 SXM",
):
    """Shapes side by side as a table, requested beside realised."""
    import pandas as pd  # only here: to allocate needs no more than the standard library

    percent = lambda value: "" if value is None else f"{value:.1%}"
    rows = []
    for shape in shapes:
        model, roof = shape.model, roofline(shape.model, hardware, seq_len, batch_tokens)
        rows.append(
            {
                "requested share": percent(shape.requested_share),
                "share": f"{shape.embed_share:.2%}",
                "requested glu": f"{shape.requested_glu or '':}",
                "glu": f"{shape.glu:.3f}",
                "d_model": model.d_model,
                "n_layers": model.n_layers,
                "n_heads": model.n_heads,
                "d_head": model.d_head,
                "d_ff": model.d_ff,
            }
            | ({"d_embed": model.d_embed} if model.d_embed else {})
            | {
                "total": f"{shape.params['total']:,}",
                "train MFLOPs/token": f"{flops_per_token(model, seq_len)['train'] / 1e6:.1f}",
                f"at most tokens/s ({hardware})": f"{roof['train_tokens_per_s']:,.0f}",
            }
        )
    return pd.DataFrame(rows)
