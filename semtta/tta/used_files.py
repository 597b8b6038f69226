"""The user's own files that a result depends on: other weights, other numbers."""

from __future__ import annotations

from pathlib import Path

from semtta.body.search import find_body_file
from semtta.config import Config
from semtta.errors import SemttaError
from semtta.shipped import file_sha256
from semtta.user_files import USER_FILES, find_user_file


def used_files(config: Config, body_models: Path | None = None) -> dict[str, str]:
    """First twelve digits of the SHA-256 of each file that a run reads and that is not shipped.

    Args:
        config: settings of the run.
        body_models: folder searched first for SMPL bodies.
    Returns: by what the file is for ("model", "body", ...); empty for the shipped networks and
        body. A missing file is left out: loading it says what to do."""
    model, alignment, smoothing = config.model, config.alignment, config.smoothing
    found: dict[str, str | Path | None] = {
        "model": model.checkpoint
        or (find_user_file(model.name) if model.name in USER_FILES else None),
        "mean_params": model.mean_params
        or (find_user_file("mean_params") if model.name in ("hmr", "cliff") else None),
        "alignment": alignment.checkpoint,
        "gate": config.gate.checkpoint,
        "smoothing": smoothing.checkpoint,
        "discriminator": config.discriminator.checkpoint,
        "shape": config.shape.betas,
        "body": None if config.body.name == "cc0" else config.body.name,
    }
    if alignment.prior == "motionclip":
        found["alignment"] = alignment.checkpoint or find_user_file("motionclip")
        found["clip"] = alignment.clip or find_user_file("clip")
    if alignment.prior == "tmr":
        del found["alignment"]  # a folder
        found |= _of_tmr(alignment.checkpoint or find_user_file("tmr"))
        found["texts.npz"] = alignment.text_vectors or found.get("texts.npz")
    if smoothing.kind == "mdnet":
        found["smoothing"] = smoothing.checkpoint or find_user_file("mdnet")
    if config.body.name == "smpl":
        found["body"] = find_body_file(config.body.gender, body_models)
    files = {use: Path(path) for use, path in found.items() if path}
    return {use: file_sha256(path)[:12] for use, path in files.items() if path.is_file()}


def _of_tmr(path: str | Path | None) -> dict[str, Path]:
    """The files in a folder of TMR's family; none if it is absent: loading it says what to do."""
    from semtta.motion.tmr_files import TMRFiles

    try:
        return TMRFiles.find(path).present() if path else {}
    except SemttaError:
        return {}
