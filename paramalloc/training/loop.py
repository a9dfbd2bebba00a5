"""Train the runs of a cell, one after the other; errors become messages that say what to do."""

from safetensors import SafetensorError

from ..allocation import allocation, memory_bytes
from ..config import TrainConfig
from ..data import Corpus
from ..errors import DiskError, OutOfMemoryError
from ..model import device_memory, is_out_of_memory, pick_device
from ..runs import Run
from .interrupt import Interrupt
from .meter import OnRecord
from .trainer import Trainer


def train(config: TrainConfig, corpus: Corpus, on_record: OnRecord | None = None) -> list[dict]:
    """Train every run of a cell that is not finished yet.

    Returns a result (result.json) for each run. A cell has a run for each pair of its learning
    rates and seeds. `on_record(dict)` sees the progress. InfeasibleError before anything is
    computed where no shape meets the config; else as `train_run`.
    """
    allocation(config)
    return [train_run(run, corpus, on_record) for run in config.runs()]


def train_run(config: TrainConfig, corpus: Corpus, on_record: OnRecord | None = None) -> dict:
    """Train one run and measure it, or find it finished; its result.json.

    One that was interrupted goes on from its last checkpoint; one that another process trains is
    waited for. DiskError, OutOfMemoryError and InterruptedRunError say what to do.
    """
    run = Run(config, corpus.fingerprint)
    if run.finished:
        return run.result
    try:
        with run.held(_waiting_message(run.id)), Interrupt() as interrupt:
            if run.finished:
                return run.result
            return _train_held(run, config, corpus, interrupt, on_record)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise DiskError(
            f"cannot write run {run.id}: {reason}. Make room or name other outputs; "
            f"the same command goes on from the last checkpoint in {run.folder}"
        ) from None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"out of memory with batch_tokens {config.batch_tokens}: {_suggest_batch(config)}"
        ) from None


def _train_held(
    run: Run,
    config: TrainConfig,
    corpus: Corpus,
    interrupt: Interrupt,
    on_record: OnRecord | None,
) -> dict:
    """Train a run that this process holds."""
    trainer = Trainer.set_up(run, config, corpus, interrupt, on_record)
    while not trainer.ended:
        trainer.step()
    return trainer.conclude()


def _waiting_message(run_id: str):
    """A callback for who waits: says once for each process that it trains this run."""
    named = set()

    def say(holder: dict):
        process = f"process {holder['pid']} on {holder['host'].split()[0]}"
        if process not in named:
            named.add(process)
            print(f"waiting: run {run_id} is being trained by {process}", flush=True)

    return say


def _suggest_batch(config: TrainConfig) -> str:
    """The largest batch_tokens that should fit: half of it, a quarter …

    It fits where the memory that the ledger predicts is below four fifths of the device's.
    """
    shape = allocation(config).model
    room = device_memory(pick_device(config.device))
    value_bytes = 4 if config.precision == "fp32" else 2
    rows = config.batch_tokens // config.seq_len // 2
    while rows:
        batch_tokens = rows * config.seq_len
        needed = memory_bytes(shape, config.seq_len, batch_tokens, value_bytes)["training"]
        if room is None or needed < 0.8 * room:
            return f"batch_tokens {batch_tokens} should fit (it is another run)"
        rows //= 2
    return "a smaller seq_len or total_params would fit"
