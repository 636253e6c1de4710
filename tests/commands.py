"""The ``realism`` command within the tests' own process, which saves its start: words in, exit code and output out."""

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import realism


def call(*arguments: object, cwd: Path, **environment: str) -> CompletedProcess[str]:
    """As ``python -m realism`` in the folder ``cwd``, where no setting but ``environment`` is given.

    An error that the command does not turn into a sentence is raised here.
    """
    out, err = io.StringIO(), io.StringIO()
    words = [str(argument) for argument in arguments]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        for name in [name for name in os.environ if name.startswith("REALISM_")]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        code = _exit_code(words)
    return CompletedProcess(words, code, out.getvalue(), err.getvalue())


def _exit_code(words: list[str]) -> int:
    try:
        realism.main(words)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    raise AssertionError(f"realism {' '.join(words)} came back instead of ending")
