"""Tasks of the LM Evaluation Harness that read BLiMP from local files."""

import json
from pathlib import Path

import pandas as pd


def task_files(folder: Path, rows: list[dict]) -> None:
    """Write to folder/tasks, for each paradigm, its pairs as JSON lines and a task that reads them.

    The task of a paradigm (`UID` of a row) is called local_<paradigm>.
    """
    tasks = folder / "tasks"
    tasks.mkdir()
    for name, pairs in pd.DataFrame(rows).groupby("UID"):
        data = tasks / f"{name}.jsonl"
        pairs.to_json(data, orient="records", lines=True)
        task = {
            "task": f"local_{name}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"validation": str(data)}},
            "validation_split": "validation",
            "output_type": "multiple_choice",
            "doc_to_text": "",
            "doc_to_target": 0,
            "target_delimiter": "",
            "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
            "metric_list": [{"metric": "acc"}],
        }
        (tasks / f"{name}.yaml").write_text(json.dumps(task))  # JSON is YAML
