"""A run as a Hugging Face folder.

`AutoModelForCausalLM` and `AutoTokenizer` load it offline and without remote code.
Shapes: V tokens of the vocabulary.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .allocation import count_parameters
from .config import ROOT, ModelConfig
from .data import EOT, EOT_TEXT, Corpus
from .disk import sync_tree
from .errors import ExportError
from .evaluation.finished import load_trained
from .model import NORM_EPS, ROPE_BASE
from .runs import final_weights, find_run, read_about, read_json, write_json, write_text


def export_run(run: str, folder: str | Path, outputs: str | Path = "outputs") -> Path:
    """Write a run to a new folder: config.json, model.safetensors, tokenizer and model card.

    `run` is the run's folder, or its id within `outputs`. Raises ExportError where the run is not
    complete, has no Llama equivalent, or `folder` is not empty.
    """
    source = find_run(run, ROOT / outputs)
    target = Path(folder)

    # What the run left: its record, its weights, its tokenizer.
    config = read_about(source)
    result = read_json(source / "result.json")
    _refuse_unfinished(source, result)
    tokenizer = _tokenizer_of(source, config)
    if target.exists() and any(target.iterdir()):
        raise ExportError(f"{target} is not empty: name a new folder")
    model = ModelConfig.from_record(config)
    state = llama_weights(load_trained(source).state_dict(), model)

    # The same for transformers.
    target.mkdir(parents=True, exist_ok=True)
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    write_json(target / "config.json", llama_config(model, config["seq_len"]))
    write_json(target / "generation_config.json", {"bos_token_id": EOT, "eos_token_id": EOT})
    shutil.copy(tokenizer, target / "tokenizer.json")
    write_json(target / "tokenizer_config.json", _tokenizer_config(config["seq_len"]))
    exported = sum(weight.numel() for weight in state.values())
    write_text(target / "README.md", _model_card(config, result, model, exported))
    sync_tree(target)
    return target


def _refuse_unfinished(source: Path, result: dict[str, Any] | None) -> None:
    if result is None or final_weights(source) is None:
        missing = "result" if result is None else "final weights"
        raise ExportError(f"run {source.name} is not complete: it has no {missing} to export")


def _tokenizer_of(source: Path, config: dict[str, Any]) -> Path:
    folder = source.parents[1] / "data" / config["provenance"]["corpus"]
    if not (folder / "tokenizer.json").exists():
        raise ExportError(
            f"the tokenizer of run {source.name} is gone: {folder / 'tokenizer.json'} "
            "(prepare its corpus again)"
        )
    _ = Corpus.open(folder).tokenizer  # DataError if it is damaged
    return folder / "tokenizer.json"


# ----------------------------------------------------------------- the model


def llama_weights(state: dict[str, Tensor], model: ModelConfig) -> dict[str, Tensor]:
    """Our weights in float32 under the names of LlamaForCausalLM.

    A factorized embedding is multiplied out: V x d_embed times d_embed x d_model. Raises
    ExportError for a shape without a gate, which has no Llama equivalent.
    """
    if not model.gated:
        raise ExportError(
            "an MLP without a gate (mlp 'relu2') has no Llama equivalent, "
            "so this run cannot be exported"
        )
    weights = {
        "model.embed_tokens.weight": _embedding_table(state, model),
        "model.norm.weight": state["norm.weight"],
    }
    if model.embedding == "untied":
        weights["lm_head.weight"] = state["head.weight"]
    for layer in range(model.n_layers):
        for name, weight in _layer_weights(state, f"blocks.{layer}.", model).items():
            weights[f"model.layers.{layer}.{name}.weight"] = weight
    return {
        name: weight.detach().to(torch.float32).contiguous() for name, weight in weights.items()
    }


def _embedding_table(state: dict[str, Tensor], model: ModelConfig) -> Tensor:
    table = state["embedding.weight"]
    if model.embedding != "factorized":
        return table
    product = table.double() @ state["projection.weight"].double()
    return product.to(table.dtype)


def _layer_weights(state: dict[str, Tensor], block: str, model: ModelConfig) -> dict[str, Tensor]:
    """Weights of one layer; Llama keeps apart what our blocks hold as one matrix."""
    queries = model.n_heads * model.d_head
    keys = model.n_kv_heads * model.d_head
    query, key, value = state[block + "attention.qkv.weight"].split([queries, keys, keys])
    gate, up = state[block + "mlp.gate_up.weight"].chunk(2)
    return {
        "self_attn.q_proj": query,
        "self_attn.k_proj": key,
        "self_attn.v_proj": value,
        "mlp.gate_proj": gate,
        "mlp.up_proj": up,
        "self_attn.o_proj": state[block + "attention.out.weight"],
        "mlp.down_proj": state[block + "mlp.down.weight"],
        "input_layernorm": state[block + "attention_norm.weight"],
        "post_attention_layernorm": state[block + "mlp_norm.weight"],
    }


def llama_config(model: ModelConfig, seq_len: int) -> dict[str, Any]:
    """config.json of the same shape, for transformers 4 (rope_theta) and 5 (rope_parameters)."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float32",
        "vocab_size": model.vocab_size,
        "hidden_size": model.d_model,
        "num_hidden_layers": model.n_layers,
        "num_attention_heads": model.n_heads,
        "num_key_value_heads": model.n_kv_heads,
        "head_dim": model.d_head,
        "intermediate_size": model.d_ff,
        "tie_word_embeddings": model.embedding != "untied",
        "rms_norm_eps": NORM_EPS,
        "rope_theta": ROPE_BASE,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_BASE},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": seq_len,
        "bos_token_id": EOT,
        "eos_token_id": EOT,
    }


def _tokenizer_config(seq_len: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": EOT_TEXT,
        "eos_token": EOT_TEXT,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": seq_len,
    }


# ------------------------------------------------------------ the model card


def _model_card(
    config: dict[str, Any], result: dict[str, Any], model: ModelConfig, exported: int
) -> str:
    """What it is, where its parameters are, what it reached and on which text."""
    params = count_parameters(model)
    rows = _card_rows(result, params)
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    parameters = {name: value for name, value in config["parameters"].items() if value is not None}
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# paramalloc run {config["run_id"]}

A decoder of {model.n_layers} layers of width {model.d_model}, trained by paramalloc,
as a Llama model in float32.
{_multiplied_out(model, params["total"], exported)}
| | |
|---|---|
{table}

Text: {config["dataset"]} (fingerprint {config["data_fingerprint"][:12]}), in windows of
{config["seq_len"]} tokens, each document closed by `{EOT_TEXT}` (id {EOT}).
Inside a document that string was ordinary text; the tokenizer of this folder takes it for the end.
The licence of the weights follows from that of the text, which paramalloc does not know:
ask whoever gave you the text. The model is for comparing allocations. It is too small to be
trusted with facts.

Recipe: {json.dumps(parameters)}
"""


def _card_rows(result: dict[str, Any], params: dict[str, int]) -> list[tuple[str, str]]:
    return [
        ("embedding share, realised", f"{result['embed_share']:.2%}"),
        ("GLU expansion, realised", f"{result['glu']:.3f}"),
        *((f"parameters, {name}", f"{count:,}") for name, count in params.items()),
        ("training tokens", f"{result['tokens_trained']:,}"),
        ("dev bits per byte", _measured(result, "dev_bpb", ".4f")),
        ("dev perplexity (this tokenizer)", _measured(result, "dev_ppl", ".2f")),
        ("test bits per byte", _measured(result, "test_bpb", ".4f")),
        ("SmallBench", _measured(result, "smallbench", ".4f")),
    ]


def _multiplied_out(model: ModelConfig, trained: int, exported: int) -> str:
    """How an export differs from the run in its number of parameters, where it does."""
    if exported == trained:
        return ""
    factors = f"{model.vocab_size:,} x {model.d_embed} and {model.d_embed} x {model.d_model}"
    difference = "more" if exported > trained else "fewer"
    return (
        f"\nThe run's embedding is factorized ({factors}). Here it is multiplied out, so this "
        f"folder holds {exported:,} parameters, {difference} than the {trained:,} of the run.\n"
    )


def _measured(result: dict[str, Any], name: str, form: str) -> str:
    value = result.get(name)
    if value is None:
        return "not measured"
    return f"{value:{form}}"
