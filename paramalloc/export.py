"""A run as a Hugging Face folder, which `AutoModelForCausalLM` and `AutoTokenizer` load offline and without remote code."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .allocation import count_parameters
from .config import ROOT, ModelConfig
from .data import EOT, EOT_TEXT
from .errors import ExportError
from .model import NORM_EPS, ROPE_BASE
from .runs import SHAPE, find_run, read_json, write_json, write_text


def export_run(run: str, folder: str | Path, outputs: str | Path = "outputs") -> Path:
    """Write config.json, model.safetensors, the tokenizer and a model card of a run (its folder or id) to a new folder."""
    source, target = find_run(run, ROOT / outputs), Path(folder)
    config, result = read_json(source / "config.json"), read_json(source / "result.json")
    weights = source / "checkpoint" / "final" / "model.safetensors"
    if result is None or not weights.exists():
        raise ExportError(
            f"run {source.name} is not complete: it has no {'result' if result is None else 'final weights'} to export"
        )
    tokenizer = source.parents[1] / "data" / config["provenance"]["corpus"] / "tokenizer.json"
    if not tokenizer.exists():
        raise ExportError(
            f"the tokenizer of run {source.name} is gone: {tokenizer} (prepare its corpus again)"
        )
    if target.exists() and any(target.iterdir()):
        raise ExportError(f"{target} is not empty: name a new folder")
    model = ModelConfig(**{name: config[name] for name in SHAPE})
    state = llama_weights(load_file(weights), model)
    target.mkdir(parents=True, exist_ok=True)
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    write_json(target / "config.json", llama_config(model, config["seq_len"]))
    write_json(target / "generation_config.json", {"bos_token_id": EOT, "eos_token_id": EOT})
    shutil.copy(tokenizer, target / "tokenizer.json")
    write_json(
        target / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": EOT_TEXT,
            "eos_token": EOT_TEXT,
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
            "model_max_length": config["seq_len"],
        },
    )
    write_text(
        target / "README.md", card(config, result, sum(weight.numel() for weight in state.values()))
    )
    return target


def llama_weights(state: dict[str, Tensor], model: ModelConfig) -> dict[str, Tensor]:
    """Our weights under the names of LlamaForCausalLM. A factorized embedding is multiplied out: V x d_embed times
    d_embed x d_model. A shape without a gate has no Llama equivalent (ExportError)."""
    if not model.gated:
        raise ExportError(
            "an MLP without a gate (mlp 'relu2') has no Llama equivalent, so this run cannot be exported"
        )
    table = state["embedding.weight"]
    if model.embedding == "factorized":
        table = (table.double() @ state["projection.weight"].double()).to(table.dtype)
    sizes = [model.n_heads * model.d_head] + 2 * [model.n_kv_heads * model.d_head]
    found = {"model.embed_tokens.weight": table, "model.norm.weight": state["norm.weight"]}
    if model.embedding == "untied":
        found["lm_head.weight"] = state["head.weight"]
    for i in range(model.n_layers):
        ours, theirs = f"blocks.{i}.", f"model.layers.{i}."
        for name, weight in zip("qkv", state[ours + "attention.qkv.weight"].split(sizes)):
            found[f"{theirs}self_attn.{name}_proj.weight"] = weight
        for name, weight in zip(("gate", "up"), state[ours + "mlp.gate_up.weight"].chunk(2)):
            found[f"{theirs}mlp.{name}_proj.weight"] = weight
        found[theirs + "self_attn.o_proj.weight"] = state[ours + "attention.out.weight"]
        found[theirs + "mlp.down_proj.weight"] = state[ours + "mlp.down.weight"]
        found[theirs + "input_layernorm.weight"] = state[ours + "attention_norm.weight"]
        found[theirs + "post_attention_layernorm.weight"] = state[ours + "mlp_norm.weight"]
    return {name: weight.detach().to(torch.float32).contiguous() for name, weight in found.items()}


def llama_config(model: ModelConfig, seq_len: int) -> dict:
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


def card(config: dict, result: dict, exported: int) -> str:
    """The model card: what it is, where its parameters are, what it reached and on which text."""
    model = ModelConfig(**{name: config[name] for name in SHAPE})
    params = count_parameters(model)
    more = (
        ""
        if exported == params["total"]
        else (
            f"\nThe run's embedding is factorized ({model.vocab_size:,} x {model.d_embed} and {model.d_embed} x {model.d_model}); here it is "
            f"multiplied out, so this folder holds {exported:,} parameters, {'more' if exported > params['total'] else 'fewer'} than the {params['total']:,} of the run.\n"
        )
    )
    number = lambda name, form: (
        "not measured" if result.get(name) is None else f"{result[name]:{form}}"
    )
    rows = [
        ("embedding share, realised", f"{result['embed_share']:.2%}"),
        ("GLU expansion, realised", f"{result['glu']:.3f}"),
        *((f"parameters, {name}", f"{count:,}") for name, count in params.items()),
        ("training tokens", f"{result['tokens_trained']:,}"),
        ("dev bits per byte", number("dev_bpb", ".4f")),
        ("dev perplexity (this tokenizer)", number("dev_ppl", ".2f")),
        ("test bits per byte", number("test_bpb", ".4f")),
        ("SmallBench", number("smallbench", ".4f")),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    corpus = f"{config['dataset']} (fingerprint {config['data_fingerprint'][:12]})"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# paramalloc run {config["run_id"]}

A decoder of {model.n_layers} layers of width {model.d_model}, trained by paramalloc, as a Llama model in float32.
{more}
| | |
|---|---|
{table}

Text: {corpus}, in windows of {config["seq_len"]} tokens, each document closed by `{EOT_TEXT}` (id {EOT}). The licence of the
weights follows from that of the text, which paramalloc does not know: ask whoever gave you the text. It is a model for
comparing allocations, too small to be trusted with facts.

Recipe: {json.dumps({name: value for name, value in config["parameters"].items() if value is not None})}
"""
