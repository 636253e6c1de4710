"""The import rule: which folder may know which, read from the imports; and a survey server that never loads torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("protocol", "pairs", "models", "train", "analysis", "study_app", "migrations")
MAY_IMPORT = {
    "protocol": set(),
    "models": set(),
    "pairs": {"protocol"},
    "train": {"protocol", "pairs", "models"},
    "analysis": {"protocol"},
    "study_app": {"protocol", "pairs", "analysis"},
    "migrations": {"study_app"},
}
NEVER = {
    "protocol": {"flask", "sqlalchemy", "torch", "torchvision"},
    "pairs": {"flask", "sqlalchemy", "torch", "torchvision"},
    "models": {"flask", "sqlalchemy", "pathlib", "os", "io"},
    "train": {"flask", "sqlalchemy"},
    "analysis": {"flask", "sqlalchemy", "torch", "torchvision"},
    "study_app": {"torch", "torchvision", "safetensors", "tensorboard"},
    "migrations": {"torch", "flask"},
}


def imported(file: Path) -> set[str]:
    """The top-level names of every module a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(str(node.module).split(".")[0])
    return names


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_imports_only_what_the_design_allows(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        names = imported(file)
        ours = names & {*FOLDERS, "realism", "demo"}
        assert ours <= MAY_IMPORT[folder] | {folder}, file
        assert not names & NEVER[folder], file


def test_migrations_know_only_the_tables_and_the_engine():
    for file in (ROOT / "migrations").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("study_app"):
                assert node.module in ("study_app.tables", "study_app.db"), file


WITHOUT_TORCH = """
import importlib, pkgutil, sys
from importlib.machinery import PathFinder

ABSENT = ("torch", "torchvision", "safetensors", "tensorboard")

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in ABSENT else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""
IMPORT_ALL = """
for package in ("protocol", "analysis", "study_app"):
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, package + "."):
        importlib.import_module(module.name)
assert not any(name.split(".")[0] in ABSENT for name in sys.modules)
"""


def run_python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_survey_and_analysis_import_with_torch_absent():
    done = run_python(WITHOUT_TORCH + IMPORT_ALL)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "configs/cgan-demo.toml", "--photos", "tests", "--out", "nowhere"],
        ["pairs", "make", "--checkpoint", "nowhere", "--photos", "tests", "--out", "nowhere"],
    ],
)
def test_training_without_torch_says_what_to_install(arguments):
    done = run_python(WITHOUT_TORCH + f"import realism; realism.main({arguments!r})")
    assert done.returncode == 2, done.stderr
    assert "training needs torch, which is not installed; run \"pip install 'realism[train]'\"" in done.stderr
    assert "Traceback" not in done.stderr


def test_survey_server_loads_neither_pandas_nor_matplotlib():
    program = (
        "import sys, study_app, study_app.serve, study_app.export, study_app.studies;"
        "print([m for m in ('torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
