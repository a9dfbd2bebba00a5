"""An exported run is, to transformers alone, the model that was trained."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from paramalloc.cli import main
from paramalloc.config import ModelConfig, TrainConfig
from paramalloc.errors import ExportError
from paramalloc.export import export_run
from paramalloc.model import DecoderLM
from paramalloc.runs import Run, read_json
from paramalloc.training import train

KINDS = ("tied", "untied", "factorized")


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tiny, tiny_corpus, tmp_path_factory):
    """A tiny run: our model with its weights, the folder that it was exported to, its result."""
    outputs = tiny_corpus.folder.parents[1]
    config = TrainConfig.from_dict(
        tiny
        | {"outputs": str(outputs), "embedding": request.param, "tokens": 20_480, "seq_len": 32}
    )
    [result] = train(config, tiny_corpus)
    run = Run(config, tiny_corpus.fingerprint)
    recorded = read_json(run.folder / "config.json")
    model = DecoderLM(ModelConfig.from_record(recorded))
    model.load_state_dict(load_file(run.folder / "checkpoint" / "final" / "model.safetensors"))
    folder = tmp_path_factory.mktemp("export") / "new"
    assert main(["export", run.id, str(folder), "--outputs", str(outputs)]) == 0
    return model, folder, result


@torch.no_grad()
def test_logits_are_the_same(exported):
    """transformers' logits are ours within 1e-4, for every kind of embedding."""
    model, folder, _ = exported
    tokens = torch.randint(model.config.vocab_size, (3, 32))
    llama = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    assert type(llama).__name__ == "LlamaForCausalLM"
    assert next(llama.parameters()).dtype == torch.float32
    torch.testing.assert_close(model(tokens), llama(tokens).logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_dev_loss_is_the_same(exported, tiny_corpus):
    """The dev loss by transformers alone, on the same windows, is the recorded one within 1e-4."""
    _, folder, result = exported
    llama = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    stream = np.concatenate(([0], tiny_corpus.split("valid"))).astype(np.int64)
    nats = 0.0
    for start in range(0, len(stream) - 1, 32):
        window = torch.from_numpy(stream[start : start + 33])
        log_probabilities = llama(window[None, :-1]).logits[0].log_softmax(-1)
        nats -= log_probabilities.gather(1, window[1:, None]).double().sum().item()
    assert nats / (len(stream) - 1) == pytest.approx(result["dev_loss"], rel=1e-4)
    assert math.exp(nats / (len(stream) - 1)) == pytest.approx(result["dev_ppl"], rel=1e-3)


def test_the_tokenizer_is_the_same(exported, tiny_corpus):
    """AutoTokenizer gives the ids of the run's tokenizer, and decodes them to the text."""
    tokenizer = AutoTokenizer.from_pretrained(exported[1], local_files_only=True)
    text = "The cats see the dog in the garden.\nThe child likes  the painter."
    assert tokenizer(text)["input_ids"] == tiny_corpus.tokenizer.encode(text).ids
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text and tokenizer.eos_token_id == 0


def test_the_card_says_what_it_holds(exported):
    """Allocation, results and text; a factorized export says how many more or fewer it holds."""
    model, folder, result = exported
    card = (folder / "README.md").read_text()
    held = sum(weight.numel() for weight in load_file(folder / "model.safetensors").values())
    assert f"| parameters, total | {result['total_params']:,} |" in card
    assert f"{result['dev_bpb']:.4f}" in card
    factorized = model.config.embedding == "factorized"
    assert ("multiplied out" in card) == factorized == (held != result["total_params"])
    assert f"{held:,}" in card


def test_what_cannot_be_exported_is_refused(
    exported, tiny, tiny_corpus, capsys, monkeypatch, tmp_path
):
    """No such run, a folder in use, no Llama equivalent: one line each, nothing written."""
    outputs = tiny_corpus.folder.parents[1]
    assert main(["export", "nosuchrun", "x", "--outputs", str(outputs)]) == 2
    assert "no run 'nosuchrun'" in capsys.readouterr().err
    with pytest.raises(ExportError, match="is not empty: name a new folder"):
        export_run(exported[2]["run_id"], exported[1], outputs)
    monkeypatch.chdir(outputs / "runs")
    export_run(exported[2]["run_id"], tmp_path / "relative")  # a folder as it is typed
    config = TrainConfig.from_dict(
        tiny | {"outputs": str(outputs), "mlp": "relu2", "tokens": 2048, "probes": 1}
    )
    train(config, tiny_corpus)
    target = outputs / "never"
    with pytest.raises(ExportError, match="no Llama equivalent"):
        export_run(str(Run(config, tiny_corpus.fingerprint).folder), target)
    assert not target.exists()
