"""What a run goes on from, exactly as if it had never stopped, and what it ends with. safetensors and JSON only.

    checkpoint/step-00001200/   model.safetensors  optimizer.safetensors  metrics.jsonl  state.json  manifest.json
    checkpoint/final/           the same without the optimizer; it stays

manifest.json holds the sha256 of the others. A checkpoint is made aside and renamed to its place when it has reached the disk:
it is there whole or not at all. The last two are kept, so that there is one to go on from even if the newest was damaged.
"""

import hashlib
import json
import shutil
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ..errors import RunError
from ..runs import OUTSIDE, Run, read_json, read_metrics
from .early_stop import EarlyStop

KEPT = 2
SAME = (
    "data_fingerprint",
    "recipe",
    "precision",
    "compiled",
)  # beside the parameters: what a run must not change under way


class Keeper:
    """Keeps a run every `seconds`: its learner (model, optimizers, scaler), its meter and its early stop."""

    def __init__(self, run: Run, learner, meter, stop: EarlyStop, seconds: float):
        self.run, self.learner, self.meter, self.stop, self.seconds = (
            run,
            learner,
            meter,
            stop,
            seconds,
        )
        self.folder, self.last = run.folder / "checkpoint", time.monotonic()

    def go_on(self, about: dict) -> tuple[int, list[torch.Tensor]]:
        """Begin, or go on from the newest checkpoint: the step that was reached and the losses that are not recorded yet.

        RunError if the run that was begun is another than `about` says; it names the difference.
        """
        place = newest_whole(self.folder, self.run.lease.discard)
        if place is None:
            self.run.begin(about)
            return 0, []
        before = read_json(self.run.folder / "config.json") or about
        refuse_changes(self.run, before, about)
        state = json.loads((place / "state.json").read_text())
        restore(place, self.learner.model, self.learner.optimizers)
        self.learner.scaler.load_state_dict(state["scaler"])
        self.learner.good.fill_(state["step"])
        self.meter.go_on(state["meter"])
        resumed = [
            *before.get("resumed", []),
            {"step": state["step"], "commit": about["provenance"]["commit"]},
        ]
        self.run.begin(before | {"resumed": resumed}, (place / "metrics.jsonl").read_bytes())
        for record in read_metrics(
            self.run.folder
        ):  # the rule sees again what it saw, and what it was interrupted at
            if "dev_ppl" in record:
                self.stop(record["tokens"], record["dev_ppl"])
        print(f"run {self.run.id} goes on from step {state['step']}")
        return state["step"], [
            torch.tensor(loss, device=self.learner.device) for loss in state["losses"]
        ]

    def due(self) -> bool:
        return time.monotonic() - self.last >= self.seconds

    def save(self, step: int, losses: list[torch.Tensor], final: bool = False):
        """Keep the run at `step`; once as `final`, for good."""
        name, learner = "final" if final else f"step-{step:08}", self.learner
        made, place, self.last = self.run.lease.desk / name, self.folder / name, time.monotonic()
        if place.exists() or self.learner.bad:
            return
        state = {
            "step": step,
            "losses": [loss.item() for loss in losses],
            "scaler": learner.scaler.state_dict(),
            "meter": self.meter.kept(),
        }
        with self.run.lease.fenced():
            made.mkdir()
            save_file(weights(learner.model), made / "model.safetensors")
            if not final:
                save_file(moments(learner.optimizers), made / "optimizer.safetensors")
            shutil.copy(self.run.folder / "metrics.jsonl", made / "metrics.jsonl")
            (made / "state.json").write_text(json.dumps(state, allow_nan=False))
            (made / "manifest.json").write_text(
                json.dumps({path.name: digest(path) for path in sorted(made.iterdir())})
            )
            self.folder.mkdir(exist_ok=True)
        self.run.lease.replace(made, place)
        self.tidy(KEPT if not final else 0)

    def says(self) -> str:
        """Where the last good weights are."""
        places = found(self.folder)
        return (
            f"The last good checkpoint is {places[-1]}" if places else "Nothing had been kept yet"
        )

    def tidy(self, kept: int):
        for old in found(self.folder)[: -kept or None]:
            self.run.lease.discard(old)


def refuse_changes(run: Run, before: dict, now: dict):
    values = lambda what: (
        {
            name: value
            for name, value in what["parameters"].items()
            if name not in OUTSIDE | {"dataset"}
        }
        | {name: what.get(name) for name in SAME}
    )
    was, today = values(before), values(now)
    changed = [
        f"{name} was {was.get(name)} and is {value}"
        for name, value in today.items()
        if was.get(name) != value
    ]
    if changed:
        raise RunError(
            f"run {run.id} cannot go on here: {', '.join(changed)}. Go on where it began, or remove {run.folder}"
        )


def newest_whole(folder: Path, discard=shutil.rmtree) -> Path | None:
    """The newest checkpoint, the final one first. Damaged ones are named and put away."""
    for place in [folder / "final", *reversed(found(folder))]:
        if not place.exists():
            continue
        if not (what := damage(place)):
            return place
        print(f"checkpoint {place} is damaged ({what}): going on from the one before it")
        discard(place)
    return None


def restore(place: Path, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]):
    """Put the weights of a checkpoint back, and the optimizers' moments unless it is the final one."""
    model.load_state_dict(load_file(place / "model.safetensors"))
    if not (place / "optimizer.safetensors").exists():
        return
    states = [{} for _ in optimizers]
    for name, tensor in load_file(place / "optimizer.safetensors").items():
        which, number, key = name.split(".")
        states[int(which)].setdefault(int(number), {})[key] = tensor
    for optimizer, state in zip(optimizers, states):
        optimizer.load_state_dict(
            {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
        )


def found(folder: Path) -> list[Path]:
    """The checkpoints, from the oldest."""
    return sorted(folder.glob("step-*"))


def damage(place: Path) -> str | None:
    """What is wrong with a checkpoint, if anything is."""
    try:
        manifest = json.loads((place / "manifest.json").read_text())
        wrong = [name for name, sha256 in manifest.items() if digest(place / name) != sha256]
        return f"{wrong[0]} has changed" if wrong else None
    except (
        FileNotFoundError,
        ValueError,
        AttributeError,
    ) as error:  # what a disk cannot read just now is not damaged
        return f"{type(error).__name__}: {error}"


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}


def moments(optimizers: list[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """The optimizers' state: one tensor for each optimizer's number, parameter's number and key."""
    return {
        f"{which}.{number}.{key}": value.detach().cpu().contiguous()
        for which, optimizer in enumerate(optimizers)
        for number, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }
