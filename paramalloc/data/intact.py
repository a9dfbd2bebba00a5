"""Whether a prepared corpus is still what was prepared: checksums of its files and of meta.json.

A damaged file would train another model under the same run id, so none is read unchecked. A process
reads each file once for that, however many runs train on it.
"""

import hashlib
import json
from pathlib import Path

from ..disk import sha256_of
from ..errors import DataError
from .splits import SPLITS
from .token_files import COUNTS


def seal(meta: dict) -> dict:
    """The content of meta.json with a checksum of itself, and a mark that there is one."""
    marked = meta | {"sealed": True}
    return marked | {"sha256": _checksum(marked)}


def read_meta(folder: Path) -> dict:
    """The content of meta.json; DataError names the file if it is damaged."""
    path = folder / "meta.json"
    try:
        meta = json.loads(path.read_bytes())
        intact = _is_intact(meta)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise _damaged(path)
    return meta


def check_tokens(folder: Path, meta: dict, split: str) -> Path:
    """The token file of a split; DataError if it is not the one that was prepared."""
    return _check(folder / f"{split}.bin", meta["splits"][split]["sha256"])


def check_tokenizer(folder: Path, meta: dict) -> Path:
    """tokenizer.json; DataError if it is not the one that was prepared."""
    path = folder / "tokenizer.json"
    # The fingerprint is over the tokenizer too.
    if fingerprint(_digest(path), meta["splits"]) != meta["fingerprint"]:
        raise _damaged(path)
    return path


def fingerprint(tokenizer: str, splits: dict[str, dict]) -> str:
    """Over the checksums of the tokenizer and of the splits."""
    digests = [tokenizer, *(splits[name]["sha256"] for name in SPLITS)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _is_intact(meta: dict) -> bool:
    """Whether what readers need is there, and the checksum fits (older folders have none)."""
    counts = [meta["splits"][split][name] for split in SPLITS for name in COUNTS]
    texts = [
        meta["name"],
        meta["fingerprint"],
        *(meta["splits"][name]["sha256"] for name in SPLITS),
    ]
    return (
        all(isinstance(count, int) for count in [meta["vocab_size"], *counts])
        and all(isinstance(text, str) for text in texts)
        and ("sha256" in meta or "sealed" not in meta)
        and meta.get("sha256") in (None, _checksum(meta))
    )


def _checksum(meta: dict) -> str:
    content = {name: value for name, value in meta.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check(path: Path, sha256: str) -> Path:
    if _digest(path) != sha256:
        raise _damaged(path)
    return path


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} is damaged, it is not what was prepared: remove the folder {path.parent}, "
        "then the same command prepares it again"
    )
