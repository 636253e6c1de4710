"""The ``realism`` command: a folder's commands are loaded only when one of them is called."""

import importlib
import sys

import click

from protocol import InputError

# command → (where it lives, what it does); the line is here so that --help loads nothing.
COMMANDS = {
    "demo": ("demo:demo", "The whole road on photographs that come along: train, pair, ask, report."),
    "photos": ("train.cli:photos", "Download, check and split photographs."),
    "train": ("train.cli:train", "Train a generator."),
    "pairs": ("train.pairs_cli:pairs", "Make, import, select, check and show pair sets."),
    "evaluate": ("train.generator_cli:evaluate", "Measure how good a generator's or a pair set's fakes are."),
    "publish": ("train.generator_cli:publish", "Make a small folder of a run to give away."),
    "colourise": ("train.generator_cli:colourise", "Colour a folder of photographs."),
    "onnx": ("train.generator_cli:onnx", "Write a generator as an ONNX file."),
    "study": ("study_app.cli:study", "Plan, create, recruit for, monitor and close studies."),
    "serve": ("study_app.serve_cli:serve", "Serve the survey."),
    "simulate": ("study_app.answers_cli:simulate", "Send simulated participants through the running survey."),
    "export": ("study_app.answers_cli:export", "Write a study's response table, codebook, design and pair sets."),
    "report": ("study_app.report_cli:report", "Report a study, an export folder, or a response table."),
    "db": ("study_app.db_cli:db", "Prepare, check, back up and restore the database."),
    "doctor": ("study_app.cli:doctor", "Say what is installed, what is missing, and what to do."),
}
# What a survey server does without: package → (what needs it, the extra that brings it).
OPTIONAL_PACKAGES = {
    **dict.fromkeys(("torch", "torchvision", "safetensors", "tensorboard"), ("training", "train")),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), ("writing ONNX", "onnx")),
    "s3fs": ("pictures behind s3:// addresses", "s3"),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called or asks for its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module_name, attribute = COMMANDS[cmd_name][0].split(":")
        return getattr(importlib.import_module(module_name), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="realism")
def cli() -> None:
    """Human perceptual-realism studies, from photographs to a fool rate.

    \b
    Example:  realism demo
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command; a wrong input ends in one sentence and exit code 2."""
    try:
        cli.main(args=arguments, prog_name="realism", standalone_mode=True)
    except InputError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL_PACKAGES:
            raise
        what, extra = OPTIONAL_PACKAGES[error.name]
        click.echo(
            f"Error: {what} needs {error.name}, which is not installed; run \"pip install 'realism[{extra}]'\"",
            err=True,
        )
        sys.exit(2)
    except OSError as error:
        if isinstance(error, (BrokenPipeError, ConnectionError)) or error.filename is None:
            raise
        click.echo(f"Error: {error.filename}: {error.strerror}; check that path and who may use it", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
