"""transformers' Trainer on the model, batches and optimizer of a paramalloc run."""

import tempfile
import time

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from paramalloc.allocation import allocation
from paramalloc.config import TrainConfig
from paramalloc.data import Batches
from paramalloc.export import llama_config, llama_weights
from paramalloc.model import DecoderLM
from paramalloc.training.optimizer import make_optimizers, schedule


class Rows(torch.utils.data.Dataset):
    """The sequences of the batches, in their order."""

    def __init__(self, batches: Batches, rows: int, steps: int):
        self.batches = batches
        self.rows = rows
        self.steps = steps

    def __len__(self):
        return self.rows * self.steps

    def __getitem__(self, i):
        x, y = self.batches(i // self.rows)
        row = i % self.rows
        targets = torch.tensor(y[row])
        return {"input_ids": torch.tensor(x[row]), "labels": targets, "shift_labels": targets}


class InOrder(Trainer):
    """A Trainer that does not shuffle."""

    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


class Clock(TrainerCallback):
    """When each step ended, and the losses that were logged."""

    def __init__(self, steps: int):
        self.synchronized = (0, steps // 4, steps - 1)
        self.times: list[float] = []
        self.losses: list[float] = []

    def on_step_end(self, *_, **__):
        if torch.cuda.is_available() and len(self.times) in self.synchronized:
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in (logs or {}):
            self.losses.append(logs["loss"])


def train_with_trainer(
    config: TrainConfig, tokens, device: str, **options
) -> tuple[list[float], list[float]]:
    """(when each step ended, losses of every quarter) of `config` on `tokens`.

    `options` are those of TrainingArguments.
    """
    rows = config.batch_tokens // config.seq_len
    batches = Batches(tokens, config.seq_len, rows, 0)
    llama, optimizer = make_llama(config)
    warmup_and_decay = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: schedule(step + 1, config.steps, config.warmup)
    )
    clock = Clock(config.steps)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=rows,
            max_steps=config.steps,
            logging_steps=config.steps // 4,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=device == "cpu" or not torch.cuda.is_available(),
            **options,
        )
        InOrder(
            llama,
            arguments,
            train_dataset=Rows(batches, rows, config.steps),
            optimizers=(optimizer, warmup_and_decay),
            callbacks=[clock],
        ).train()
    return clock.times, clock.losses


def make_llama(config: TrainConfig) -> tuple[LlamaForCausalLM, torch.optim.Optimizer]:
    """The Llama with the initial weights of our decoder, and AdamW with our groups."""
    torch.manual_seed(0)
    shape = allocation(config).model
    decoder = DecoderLM(shape)
    llama = LlamaForCausalLM(LlamaConfig(**llama_config(shape, config.seq_len), use_cache=False))
    weights = llama_weights(decoder.state_dict(), shape)
    llama.load_state_dict(weights, strict=False)  # a tied head has no entry
    llama.tie_weights()

    # In the order of our groups: the table, vectors, matrices.
    inner = [
        weight
        for name, weight in llama.named_parameters()
        if "embed_tokens" not in name and "lm_head" not in name
    ]
    parts = [
        [llama.model.embed_tokens.weight],
        [weight for weight in inner if weight.dim() < 2],
        [weight for weight in inner if weight.dim() >= 2],
    ]
    groups = make_optimizers(decoder, config)[0].param_groups
    settings = []
    for part, group in zip(parts, groups, strict=True):
        rate = config.lr * group["lr_scale"]
        settings.append({"params": part, "weight_decay": group["weight_decay"], "lr": rate})
    return llama, torch.optim.AdamW(settings, betas=groups[0]["betas"], fused=True)
