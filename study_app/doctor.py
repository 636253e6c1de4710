"""What a working installation needs: a configuration in, findings out."""

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from dataclasses import dataclass

from protocol import InputError
from study_app.config import Config, read_secret
from study_app.db import open_migrated, reading
from study_app.store import check_store
from study_app.studies import open_designs

TRAIN = ("torch", "torchvision", "safetensors", "tensorboard")
ONNX = ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class Finding:
    """``needed``: without it a survey cannot be served. ``advice`` is empty where nothing is to be done."""

    what: str
    ok: bool
    found: str
    needed: bool = True
    advice: str = ""


def examine(config: Config) -> list[Finding]:
    return [
        Finding("Python", True, platform.python_version()),
        Finding("realism", True, importlib.metadata.version("realism")),
        *(_package(name, "for training: pip install 'realism[train]'") for name in TRAIN),
        *(_package(name, "for ONNX files: pip install 'realism[onnx]'") for name in ONNX),
        _package("s3fs", "for pictures behind s3:// addresses: pip install 'realism[s3]'"),
        _accelerator(),
        _database(config),
        _store(config),
        _secret(config),
    ]


def _package(name: str, advice: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name), needed=False)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", needed=False, advice=advice)


def _accelerator() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("GPU", False, "torch is not installed", needed=False)
    # In a process of its own: whatever serves the survey never loads torch.
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    name = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    return Finding("GPU", bool(name), name or "none that torch can use; training runs on the CPU", needed=False)


def _database(config: Config) -> Finding:
    try:
        engine = open_migrated(config.database)
        with reading(engine) as db:
            names = [design.name for design in open_designs(db)]
    except InputError as error:
        return Finding("Database", False, str(error))
    return Finding("Database", True, f"{engine.dialect.name}, open studies: {', '.join(names) or 'none'}")


def _store(config: Config) -> Finding:
    try:
        check_store(config.store)
    except InputError as error:
        return Finding("Pictures", False, str(error))
    return Finding("Pictures", True, f"kept in {config.store}")


def _secret(config: Config) -> Finding:
    try:
        read_secret(config)
    except InputError as error:
        return Finding("Secret key", False, str(error))
    return Finding("Secret key", True, "present")
