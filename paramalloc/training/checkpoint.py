"""Checkpoints: a run goes on from one exactly as if it had never stopped. No pickles.

    checkpoint/step-00001200/   model.safetensors  optimizer.safetensors  metrics.jsonl  state.json
                                manifest.json
    checkpoint/final/           the same without the optimizer; it stays

manifest.json holds the sha256 of the others. A checkpoint is made aside and renamed to its place
when it has reached the disk: it is there whole or not at all. The last two are kept, so that there
is one to go on from even if the newest was damaged.
"""

import hashlib
import json
import shutil
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import RunError
from ..runs import EarlyStop, Run, identifying_parameters, read_json, read_metrics
from .learner import Learner
from .meter import Meter

KEPT = 2

# What a run must not change on its way, in addition to its parameters.
FIXED = ("data_fingerprint", "recipe", "precision", "compiled")


class Checkpointer:
    """Saves a run every `seconds`: its learner, its meter and its early stop."""

    def __init__(
        self, run: Run, learner: Learner, meter: Meter, early_stop: EarlyStop, seconds: float
    ):
        self.run = run
        self.learner = learner
        self.meter = meter
        self.early_stop = early_stop
        self.seconds = seconds
        self.folder = run.folder / "checkpoint"
        self.last = time.monotonic()

    def resume(self, about: dict) -> tuple[int, list[Tensor]]:
        """Begin, or go on from the newest checkpoint.

        Returns the step that was reached and the losses that are not recorded yet. `about` is what
        config.json will hold. RunError if the run that was begun is another one; the message names
        the difference.
        """
        place = newest_whole(self.folder, self.run.lease.discard)
        if place is None:
            self.run.begin(about)
            return 0, []

        before = read_json(self.run.folder / "config.json") or about
        _refuse_changes(self.run, before, about)
        state = json.loads((place / "state.json").read_text())
        step = state["step"]

        # the learner and the meter
        _load_checkpoint(place, self.learner.model, self.learner.optimizers)
        self.learner.scaler.load_state_dict(state["scaler"])
        self.learner.finite_steps.fill_(step)
        self.meter.resume(state["meter"])

        # the record
        resumed = {"step": step, "commit": about["provenance"]["commit"]}
        config = before | {"resumed": [*before.get("resumed", []), resumed]}
        self.run.begin(config, (place / "metrics.jsonl").read_bytes())

        # replay the recorded probes through the early-stop rule
        for record in read_metrics(self.run.folder):
            if "dev_ppl" in record:
                self.early_stop(record["tokens"], record["dev_ppl"])

        print(f"run {self.run.id} goes on from step {step}")
        return step, [torch.tensor(loss, device=self.learner.device) for loss in state["losses"]]

    def due(self) -> bool:
        return time.monotonic() - self.last >= self.seconds

    def save(self, step: int, losses: list[Tensor]):
        """Save the run at `step`, with the losses that are not recorded yet."""
        self._save(f"step-{step:08}", step, losses, with_optimizers=True, kept=KEPT)

    def save_final(self, step: int):
        """Save the weights for good, and remove the other checkpoints."""
        self._save("final", step, [], with_optimizers=False, kept=0)

    def describe_last(self) -> str:
        """Where the last good weights are."""
        places = list_checkpoints(self.folder)
        if not places:
            return "No checkpoint had been saved yet"
        return f"The last good checkpoint is {places[-1]}"

    def _save(
        self, name: str, step: int, losses: list[Tensor], *, with_optimizers: bool, kept: int
    ):
        """Make a checkpoint on the lease's desk, rename it to its place; `kept` others stay."""
        self.last = time.monotonic()
        made = self.run.lease.desk / name
        place = self.folder / name
        if place.exists() or self.learner.diverged:
            return

        # make it on the desk
        state = {
            "step": step,
            "losses": [loss.item() for loss in losses],
            "scaler": self.learner.scaler.state_dict(),
            "meter": self.meter.state(),
        }
        with self.run.lease.fenced():
            made.mkdir()
            save_file(_weights(self.learner.model), made / "model.safetensors")
            if with_optimizers:
                save_file(_moments(self.learner.optimizers), made / "optimizer.safetensors")
            shutil.copy(self.run.folder / "metrics.jsonl", made / "metrics.jsonl")
            (made / "state.json").write_text(json.dumps(state, allow_nan=False))
            manifest = {path.name: _sha256(path) for path in sorted(made.iterdir())}
            (made / "manifest.json").write_text(json.dumps(manifest))
            self.folder.mkdir(exist_ok=True)

        # put it in its place, and the older ones away
        self.run.lease.replace(made, place)
        for old in list_checkpoints(self.folder)[: -kept or None]:
            self.run.lease.discard(old)


# ------------------------------------------------------------------- reading


def newest_whole(folder: Path, discard=shutil.rmtree) -> Path | None:
    """The newest whole checkpoint, the final one first; `discard` puts damaged ones away."""
    for place in [folder / "final", *reversed(list_checkpoints(folder))]:
        if not place.exists():
            continue
        damage = _find_damage(place)
        if damage is None:
            return place
        print(f"checkpoint {place} is damaged ({damage}): going on from the one before it")
        discard(place)
    return None


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run in training, from the oldest; not the final one."""
    return sorted(folder.glob("step-*"))


def _find_damage(place: Path) -> str | None:
    """What is wrong with a checkpoint; None for a whole one.

    Other read errors (OSError) are raised: they do not prove damage.
    """
    try:
        manifest = json.loads((place / "manifest.json").read_text())
        for name, sha256 in manifest.items():
            if _sha256(place / name) != sha256:
                return f"{name} has changed"
    except (FileNotFoundError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _load_checkpoint(
    place: Path, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    """Put weights back, and the optimizers' moments unless the checkpoint is the final one."""
    model.load_state_dict(load_file(place / "model.safetensors"))
    if not (place / "optimizer.safetensors").exists():
        return
    states: list[dict] = [{} for _ in optimizers]
    for name, moment in load_file(place / "optimizer.safetensors").items():
        optimizer, parameter, key = name.split(".")
        states[int(optimizer)].setdefault(int(parameter), {})[key] = moment
    for optimizer, state in zip(optimizers, states, strict=True):
        param_groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": param_groups})


def _refuse_changes(run: Run, before: dict, now: dict):
    """RunError where the run of config.json, `before`, is another one than `now`."""
    was = _fixed_values(before)
    values = _fixed_values(now)
    changed = [
        f"{name} was {was.get(name)} and is {values.get(name)}"
        for name in was | values  # what is None, or has its default, is in neither
        if was.get(name) != values.get(name)
    ]
    if changed:
        raise RunError(
            f"run {run.id} cannot go on here: {', '.join(changed)}. "
            f"Go on where it began, or remove {run.folder}"
        )


def _fixed_values(about: dict) -> dict:
    parameters = identifying_parameters(about["parameters"])
    return parameters | {name: about.get(name) for name in FIXED}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: _on_cpu(weight) for name, weight in model.state_dict().items()}


def _moments(optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The optimizers' state: one tensor for each optimizer's number, parameter's number and key."""
    moments = {}
    for which, optimizer in enumerate(optimizers):
        for number, state in optimizer.state_dict()["state"].items():
            for key, moment in state.items():
                moments[f"{which}.{number}.{key}"] = _on_cpu(moment)
    return moments


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()
