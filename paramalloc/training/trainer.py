"""One run in three pieces: set-up, step, conclusion.

The caller decides the order in which runs advance; the loop finishes one before the next.
"""

from dataclasses import asdict

import torch
from torch import Tensor

from ..allocation import allocation, peak_flops
from ..config import TrainConfig
from ..data import Batches, Corpus
from ..evaluation import as_perplexity, measure
from ..model import (
    DecoderLM,
    device_name,
    keep_freed_memory,
    peak_memory,
    pick_device,
    pick_precision,
    release_memory,
    reset_peak_memory,
    stamp,
)
from ..runs import Run, describe_provenance, describe_run
from .checkpoint import Checkpointer
from .early_stop import make_early_stop
from .feed import Feed, spread_windows
from .interrupt import Interrupt
from .learner import Learner
from .meter import Meter, OnRecord
from .optimizer import schedule


class Trainer:
    """A held run while it trains: `set_up`, then `step` until it has `ended`, then `conclude`."""

    def __init__(
        self,
        run: Run,
        corpus: Corpus,
        interrupt: Interrupt,
        columns: dict,
        feed: Feed,
        learner: Learner,
        on_record: OnRecord | None,
    ):
        config = learner.config
        self.run = run
        self.config = config
        self.corpus = corpus
        self.interrupt = interrupt
        self.columns = columns  # of the result, as far as they are known before training
        self.feed = feed
        self.learner = learner

        # what is recorded on the way
        dev_tokens = corpus.split("valid")
        self.probe = spread_windows(dev_tokens, config.seq_len, config.probe_tokens)  # (N,)
        self.probe_steps = config.probe_steps
        self.early_stop = make_early_stop(config, run, corpus.fingerprint, lambda: interrupt.caught)
        self.meter = Meter(config, run, on_record, learner.device)
        self.checkpoints = Checkpointer(
            run, learner, self.meter, self.early_stop, config.checkpoint_seconds
        )

        # where it stands
        self.steps = 0  # how many are done
        self.losses: list[Tensor] = []  # of the steps since the last record, on the device
        self.status: str | None = None  # stopped_early or diverged, once the run is
        self.beside = run.beside()  # the other runs that this machine held as this one began
        self.memory_before = 0  # bytes, a peak that is no higher is of an earlier run

    # -------------------------------------------------------------- set-up

    @classmethod
    def set_up(
        cls,
        run: Run,
        config: TrainConfig,
        corpus: Corpus,
        interrupt: Interrupt,
        on_record: OnRecord | None,
    ) -> "Trainer":
        """Begin a run that this process holds, or go on from its newest checkpoint."""
        shape = allocation(config)
        device = pick_device(config.device)
        precision = pick_precision(config.precision, device)

        # data
        rows = config.batch_tokens // config.seq_len
        batches = Batches(corpus.split("train"), config.seq_len, rows, config.seed)
        feed = Feed(batches, device)

        # model
        keep_freed_memory()
        release_memory()
        memory_before = reset_peak_memory(device)
        torch.manual_seed(config.seed)
        model = DecoderLM(shape.model, config.parametrization)
        learner = Learner(config, model, device, precision)

        # what the run is
        columns = describe_run(run.id, config, shape, corpus) | {
            "device": device_name(device),
            "precision": precision,
            "threads": torch.get_num_threads(),
            "compiled": learner.compiled is not None,
        }
        about = {
            "parameters": asdict(config),
            "ledger": shape.params,
            "provenance": describe_provenance(corpus),
            **columns,
        }

        trainer = cls(run, corpus, interrupt, columns, feed, learner, on_record)
        trainer.memory_before = memory_before
        trainer._resume(about)
        return trainer

    def _resume(self, about: dict):
        """Go on from the newest checkpoint, or begin with `about` as config.json."""
        self.steps, self.losses = self.checkpoints.resume(about)
        if self.early_stop.fired:
            self.status = "stopped_early"

    # ---------------------------------------------------------------- loop

    @property
    def ended(self) -> bool:
        return self.status is not None or self.steps >= self.config.steps

    def step(self):
        """Train one step; then record, probe and save the run where that is due.

        InterruptedRunError if a signal came: the run is saved first.
        """
        config = self.config
        x, y = self.feed(self.steps)
        self.steps += 1
        lr = config.lr * schedule(self.steps, config.steps, config.warmup)
        warming_up = self.learner.is_warming_up
        self.losses.append(self.learner.step(x, y, lr))
        if warming_up:
            self.meter.drop_stretch()

        probing = self.steps in self.probe_steps
        if probing or self.steps % config.log_every == 0:
            self._record(probing)
        if self.status == "diverged":
            return
        if self.interrupt.caught or self.checkpoints.due() or self.status == "stopped_early":
            self.checkpoints.save(self.steps, self.losses)
            self.interrupt.obey(
                f"run {self.run.id} was interrupted at step {self.steps} of {config.steps}; "
                "the same command goes on from there"
            )

    def _record(self, probing: bool):
        """Record the mean loss since the last record, and a probe of dev; see if the run ends."""
        config = self.config
        learner = self.learner

        # what is asked of the device, which is waited for once
        trained = stamp(learner.device)  # a probe is no training time
        asked = [torch.stack(self.losses).mean(), learner.diverged, learner.finite_steps]
        if probing:
            asked.append(learner.probe(self.probe))
        answers = torch.stack([value.double() for value in asked]).tolist()
        train_loss, diverged, finite_steps, *nats = answers
        self.meter.lap(self.steps, trained)
        self.losses.clear()
        if diverged:
            self.steps = int(finite_steps) + 1
            self.status = "diverged"
            return

        dev = {}
        fired = False
        if probing:
            dev_loss = nats[0] / len(self.probe)
            dev = {"dev_loss": dev_loss, "dev_ppl": as_perplexity(dev_loss)}
            fired = self.early_stop(self.steps * config.batch_tokens, dev["dev_ppl"])
        # after the rule, which may wait for the baseline
        self.meter.record(self.steps, train_loss=train_loss, **dev)
        if fired:
            self.status = "stopped_early"

    # ---------------------------------------------------------- conclusion

    def conclude(self) -> dict:
        """Save the final weights of a completed run, measure them; write and return result.json."""
        status = self.status or "completed"
        if status == "completed":
            self.checkpoints.save_final(self.steps)
        self.interrupt.at_once(
            f"run {self.run.id} was interrupted after step {self.steps}; "
            "the same command goes on from there"
        )

        result = self.columns | self.meter.totals(self.steps)
        result["status"] = status
        result["beside"] = " ".join(sorted(self.beside | self.run.beside())) or "nobody"
        result["compared"] = self.early_stop.compared
        result["flagged_at_tokens"] = self.early_stop.fired
        result["epochs"] = result["tokens_trained"] / self.corpus.meta["splits"]["train"]["tokens"]
        result["train_flops"] = result["flops_per_token"] * result["tokens_trained"]
        result["peak_memory_bytes"] = self._peak_memory()

        result["graphed"] = self.learner.graph is not None
        self.learner.release()
        if status == "completed":
            result |= self._measure()
        if status == "diverged":
            print(
                f"run {self.run.id} diverged: the loss or a gradient of step {self.steps} "
                f"is not finite. {self.checkpoints.describe_last()}"
            )
        self.meter.end()
        return self.run.finish(result | self._speeds(result))

    def _measure(self) -> dict:
        return measure(
            self.learner.model,
            self.config,
            self.corpus,
            self.run.lease,
            self.learner.precision,
            self._evaluating,
        )

    def _evaluating(self, stage: str, fraction: float):
        """Tell how far it is; and look for a signal whose error was lost on its way up."""
        self.interrupt.obey(self.interrupt.message)
        self.meter.evaluating(stage, fraction)

    def _peak_memory(self) -> int | None:
        """The most bytes held during this run; None where an earlier run held more."""
        peak = peak_memory(self.learner.device)
        return peak if peak and peak > self.memory_before else None

    def _speeds(self, result: dict) -> dict:
        """wall_s and, where known, the share of it outside of steps and the FLOPs utilisation."""
        wall = self.meter.wall
        rate = result["tokens_per_s"]
        peak = peak_flops(result["device"])
        speeds = {"wall_s": wall}
        if rate:
            speeds["outside_steps_share"] = 1 - self.meter.seconds_of_all(self.steps) / wall
        if rate and peak:
            speeds["mfu"] = result["flops_per_token"] * rate / peak
        return speeds
