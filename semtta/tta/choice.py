"""Base or adapted: what is handed out where held-out detections speak for the base.

An adaptation can make a good base worse while it fits all that it was shown. Where it was measured
on what it was not shown (``tta.heldout``), the base is kept for as long as it did no better there.
"""

from __future__ import annotations

from dataclasses import replace

import roma
import torch
from torch import Tensor

from semtta.geometry import project
from semtta.hmr.base import Prediction
from semtta.tta.heldout import HeldoutErrors
from semtta.tta.result import Motion
from semtta.tta.shape import worn
from semtta.tta.view import View

_PART = 4  # stretches that decide together: one says too little, and fewer decide nothing
_BLEND = 0.5  # seconds over which one turns into the other


def base_share(errors: HeldoutErrors | None, times: Tensor, mode: str) -> Tensor:
    """How much of the base is handed out in each frame.

    Args:
        errors: None = nothing was measured, and nothing is taken back.
        times: (T,) seconds.
        mode: ``select`` of the settings: adapted, base, or auto, by what was held out.
    Returns: (T,) in [0, 1]."""
    if mode == "base":
        return torch.ones(len(times))
    kept = torch.zeros(len(times), dtype=torch.bool)
    if mode == "adapted" or errors is None or too_few(errors):
        return kept.float()
    runs, changes = errors.stretches, errors.changes()
    for group in _groups(len(runs)):
        if _worse(changes[group]):
            kept[_begin(runs, group.start) : _end(runs, group.stop, len(times))] = True
    return _blended(kept, times.cpu())


def too_few(errors: HeldoutErrors | None) -> bool:
    """Whether less was held out than anything could be decided by."""
    return errors is None or len(errors.stretches) < _PART


def _worse(changes: Tensor) -> bool:
    """Whether the adapted motion is no better supported, by its change in each stretch, pixels."""
    return float(changes.mean()) > 0


def _groups(count: int) -> list[slice]:
    """Stretches that decide together: at least ``_PART``."""
    groups = count // _PART
    edges = [round(i * count / groups) for i in range(groups + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def _begin(runs: list[slice], first: int) -> int:
    """Frame from which a group decides: half-way from the stretch before."""
    return (runs[first - 1].stop + runs[first].start) // 2 if first else 0


def _end(runs: list[slice], last: int, frames: int) -> int:
    return (runs[last - 1].stop + runs[last].start) // 2 if last < len(runs) else frames


def _blended(kept: Tensor, times: Tensor) -> Tensor:
    """(T,) bool -> share that goes from 0 to 1 over ``_BLEND`` seconds around each change."""
    share = kept.float()
    changes = (kept[1:] != kept[:-1]).nonzero()[:, 0]
    for row in changes.tolist():
        middle = float(times[row] + times[row + 1]) / 2
        ramp = ((times - middle) / _BLEND + 0.5).clamp(0, 1).to(share)
        ramp = ramp if bool(kept[row + 1]) else 1 - ramp
        near = (times - middle).abs() < _BLEND / 2
        share = torch.where(near, ramp, share)
    return share


def _on_body(base: Motion, betas: Tensor, view: View) -> Motion:
    """The base on other betas (T, 10), as large in the picture."""
    device = view.boxes.device
    old, new = base.betas.to(device), betas.to(device)
    put = [worn(view.body, old[t : t + 1], new[t], True) for t in range(len(new))]
    scale = torch.cat([each.scale for each in put])[:, None].cpu()
    shift = torch.cat([each.shift for each in put]).cpu()
    cam = torch.cat((base.cam[:, :1] / scale, scale * base.cam[:, 1:] + shift[:, :2]), 1)
    moved = scale * base.trans + shift, scale * base.trans_raw + shift
    return replace(base, betas=betas, cam=cam, trans=moved[0], trans_raw=moved[1])


def mixed(base: Motion, adapted: Motion, share: Tensor, view: View) -> Motion:
    """The motion with some of the base in each frame; one of the two, where that is all of it.

    The body stays one: of the adapted motion, but where nothing of that is left. On it the base
    stands where it is as large in the picture.

    Args:
        share: (T,) of the base."""
    if bool((share == 0).all()):
        return adapted
    if bool((share == 1).all()):
        return base
    weight = share[:, None]
    base = _on_body(base, adapted.betas, view)
    # roma's slerp takes one step for all; frames in between differ in theirs
    turn = roma.rotmat_to_rotvec(adapted.rotmats.mT @ base.rotmats)
    rotmats = adapted.rotmats @ roma.rotvec_to_rotmat(weight[..., None] * turn)
    rotmats = torch.where((share == 1)[:, None, None, None], base.rotmats, rotmats)
    rotmats = torch.where((share == 0)[:, None, None, None], adapted.rotmats, rotmats)
    trans, cam, raw = (
        torch.lerp(getattr(adapted, name), getattr(base, name), weight)
        for name in ("trans", "cam", "trans_raw")
    )
    parts = (part.to(view.boxes.device) for part in (rotmats, adapted.betas, cam))
    landmarks = view.landmarks(Prediction(*parts)).cpu()
    center = landmarks.new_tensor(view.camera.center)
    pixels = project(landmarks + trans[:, None], view.camera.focal, center)
    return Motion(rotmats, adapted.betas, trans, cam, pixels, raw)
