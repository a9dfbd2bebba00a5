"""One run: loop, dev probes, early stop. Progress goes to a callback."""

from dataclasses import asdict

import numpy as np
import torch
from safetensors import SafetensorError

from ..allocation import allocation, memory_bytes, peak_flops
from ..config import TrainConfig
from ..data import Batches, Corpus
from ..errors import DiskError, OutOfMemoryError
from ..evaluation import measure
from ..model import (
    DecoderLM,
    device_memory,
    device_name,
    is_out_of_memory,
    keep_freed_memory,
    peak_memory,
    pick_device,
    pick_precision,
    reset_peak_memory,
)
from ..runs import Run, describe_provenance, describe_run
from .checkpoint import Keeper
from .early_stop import make_early_stop
from .interrupt import Interrupt
from .learner import Feed, Learner
from .meter import Meter
from .optimizer import schedule


def train(config: TrainConfig, corpus: Corpus, on_record=None) -> list[dict]:
    """Train every run of a cell that is not finished yet; their results. `on_record(dict)` sees the progress."""
    allocation(config)  # an infeasible cell is refused before anything is computed
    return [train_run(run, corpus, on_record) for run in config.runs()]


def train_run(config: TrainConfig, corpus: Corpus, on_record=None) -> dict:
    """Train one run and measure it; what stands in result.json. One that was interrupted goes on from its last checkpoint."""
    run = Run(config, corpus.fingerprint)
    if run.finished:
        return run.result
    try:
        with run.held(tell_who(run.id)), Interrupt() as interrupt:
            return (
                run.result
                if run.finished
                else train_held(run, config, corpus, interrupt, on_record)
            )
    except (OSError, SafetensorError) as error:
        raise DiskError(
            f"cannot write run {run.id}: {' '.join(str(error).split())}. Make room or name other outputs; the same "
            f"command goes on from the last checkpoint in {run.folder}"
        ) from None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"out of memory with batch_tokens {config.batch_tokens}: {what_fits(config)}"
        ) from None


def what_fits(config: TrainConfig) -> str:
    """The largest batch_tokens, halved as often as needed, whose predicted memory is within four fifths of the device's."""
    room, shape, rows = (
        device_memory(pick_device(config.device)),
        allocation(config).model,
        config.batch_tokens // config.seq_len,
    )
    needs = lambda rows: memory_bytes(
        shape, config.seq_len, rows * config.seq_len, 4 if config.precision == "fp32" else 2
    )["training"]
    while rows := rows // 2:
        if room is None or needs(rows) < 0.8 * room:
            return f"batch_tokens {rows * config.seq_len} should fit (it is another run)"
    return "a smaller seq_len or total_params would fit"


def tell_who(run_id: str):
    """Says once that another process trains this run."""
    told = set()

    def tell(holder: dict):
        who = f"process {holder['pid']} on {holder['host'].split()[0]}"
        if who not in told:
            told.add(who)
            print(f"waiting: run {run_id} is being trained by {who}", flush=True)

    return tell


def train_held(
    run: Run, config: TrainConfig, corpus: Corpus, interrupt: "Interrupt", on_record
) -> dict:
    shape, device = allocation(config), pick_device(config.device)
    precision = pick_precision(config.precision, device)
    batches = Feed(
        Batches(
            corpus.split("train"),
            config.seq_len,
            config.batch_tokens // config.seq_len,
            config.seed,
        ),
        device,
    )
    probe = spread(corpus.split("valid"), config.seq_len, config.probe_tokens)
    keep_freed_memory()
    reset_peak_memory(device)
    torch.manual_seed(config.seed)
    learner = Learner(config, DecoderLM(shape.model, config.parametrization), device, precision)
    machine = {
        "device": device_name(device),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "compiled": learner.compiled is not None,
    }
    identity = describe_run(run.id, config, shape, corpus) | machine
    about = {
        "parameters": asdict(config),
        "ledger": shape.params,
        "provenance": describe_provenance(corpus),
        **identity,
    }
    stop, meter = (
        make_early_stop(config, run, corpus.fingerprint, lambda: interrupt.caught),
        Meter(config, run, on_record),
    )
    keeper = Keeper(run, learner, meter, stop, config.checkpoint_seconds)
    step, losses = keeper.go_on(about)

    status, probe_steps = (
        "stopped_early" if stop.fired and config.early_stop == "kill" else "completed",
        config.probe_steps,
    )
    while step < config.steps and status == "completed":
        step += 1
        x, y = batches(step - 1)
        losses.append(learner.step(x, y, config.lr * schedule(step, config.steps, config.warmup)))
        probing = step in probe_steps
        if probing or step % config.log_every == 0:
            train_loss = (
                torch.stack(losses).mean().item()
            )  # the only place that waits for the device
            meter.lap(step)
            losses.clear()
            if learner.bad:
                step, status = int(learner.good) + 1, "diverged"
                break
            scored = learner.probe(probe) if probing else {}
            fired = bool(scored) and stop(step * config.batch_tokens, scored["dev_ppl"])
            meter.record(
                step, train_loss=train_loss, **scored
            )  # after the rule, which may wait for the baseline
            if fired and config.early_stop == "kill":
                status = "stopped_early"
        if interrupt.caught or keeper.due() or status == "stopped_early":
            keeper.save(step, losses)
            interrupt.obey(
                f"run {run.id} was interrupted at step {step} of {config.steps}; the same command goes on from there"
            )

    if status == "completed":
        keeper.save(step, [], final=True)
    interrupt.at_once(
        f"run {run.id} was interrupted after step {step}; the same command goes on from there"
    )
    result = (
        identity
        | meter.totals(step)
        | {
            "status": status,
            "early_stop": config.early_stop if stop.compared else None,
            "flagged_at_tokens": stop.fired,
        }
    )
    result["train_flops"] = result["flops_per_token"] * result["tokens_trained"]
    if status == "completed":
        result |= {"peak_memory_bytes": peak_memory(device)} | measure(
            learner.model, config, corpus, run.lease, precision, meter.evaluating
        )
    elif status == "diverged":
        print(
            f"run {run.id} diverged: the loss or a gradient of step {step} is not finite. {keeper.says()}"
        )
    meter.end()
    wall, peak = meter.wall, peak_flops(result["device"])
    rate = result["tokens_per_s"]
    result["mfu"] = result["flops_per_token"] * rate / peak if peak and rate else None
    result["outside_steps_share"] = 1 - meter.seconds_of_all(step) / wall if rate else None
    return run.finish({"peak_memory_bytes": peak_memory(device)} | result | {"wall_s": wall})


# ------------------------------------------------------------------- results


def spread(tokens: np.ndarray, seq_len: int, count: int) -> np.ndarray:
    """About `count` of the tokens, as whole windows of seq_len spread evenly: a probe of all of a split's text."""
    windows = max(1, len(tokens) // seq_len)
    starts = (
        np.linspace(0, windows - 1, min(windows, max(1, count // seq_len))).astype(int) * seq_len
    )
    return np.concatenate([tokens[start : start + seq_len] for start in starts])
