"""`paramalloc export`: a run as a Hugging Face folder."""

import os

from .options import add_command, add_outputs, add_run


def add_export(commands) -> None:
    parser = add_command(
        commands,
        "export",
        run_export,
        "Write a run as a Hugging Face folder.",
        "AutoModelForCausalLM and AutoTokenizer load it as a Llama model.",
    )
    add_run(parser)
    parser.add_argument("folder", metavar="FOLDER", help="The folder to write, a new one.")
    add_outputs(parser)


def run_export(arguments) -> None:
    from ..export import export_run

    folder = export_run(arguments.run, arguments.folder, arguments.outputs)
    print(
        f"wrote {os.path.relpath(folder)}: AutoModelForCausalLM.from_pretrained "
        "and AutoTokenizer.from_pretrained load it"
    )
