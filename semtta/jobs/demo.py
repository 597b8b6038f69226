"""What ``semtta demo`` does: the shipped clip, adapted and measured against its truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from semtta.bench.beam import PROTOCOL, beam_truth
from semtta.config import Config, config_to_yaml
from semtta.engine import Progress, silent
from semtta.files import check_folder, new_folder
from semtta.jobs.demo_hidden import run_hidden
from semtta.output.files import is_result, save_json
from semtta.output.layout import OverlayOptions
from semtta.output.write import write_results
from semtta.shipped import asset
from semtta.tta.adapter import Adapter
from semtta.tta.people import find_people
from semtta.tta.result import Result


def run_demo(
    config: Config,
    folder: Path,
    *,
    overlay: bool = True,
    overlay_options: OverlayOptions | None = None,
    page: bool = True,
    hidden: bool = True,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict:
    """The shipped clip (camera 2, a rendered person in front), measured against its truth.

    Args:
        hidden: also take limbs away and adapt with and without labels (``jobs.demo_hidden``).
    Returns: what ``demo.json`` holds: ``frozen`` and ``adapted`` numbers, title and caption; and
        as ``hidden`` what the second part says, if there is one."""
    check_folder(folder, overwrite, is_result)
    truth = beam_truth(1, with_occluder=True)
    if config.camera.focal is None:
        focal, center = truth.camera.focal, list(truth.camera.center)
        config = replace(config, camera=replace(config.camera, focal=focal, center=center))
    adapter = Adapter(config=config)
    with new_folder(folder, overwrite, is_result) as partial:
        clip = asset("demo/cam02_occluded.mp4")
        tracked = find_people(clip, progress=progress, detect_size=config.detector.size)
        result = adapter.run(tracked, asset("demo/labels.json"), progress=progress)[0]
        body = adapter.body.cpu()
        write_results(
            partial, [result], body, tracked.info, config_to_yaml(config),
            overlay=overlay, overlay_options=overlay_options, page=page, progress=progress,
        )  # fmt: skip
        numbers = demo_numbers(result, body, truth)
        save_json(partial / "demo.json", numbers)
        if hidden:
            told = run_hidden(config, tracked, truth, clip, partial, overlay=overlay, page=page,
                              progress=progress)  # fmt: skip
            numbers = numbers | {"hidden": told}
    return numbers


def demo_numbers(result: Result, body, truth) -> dict:
    """Base and adapted against the truth, and the text that belongs to the numbers."""
    detected = result.evidence.detected & result.evidence.known
    detections = result.detections.xy

    def score(motion) -> dict:
        distance = (motion.landmarks2d - detections).norm(dim=-1)
        numbers = truth.score(motion, body, result.track.frames)
        return numbers | {"reprojection_px": float(distance[detected].mean())}

    hidden = int(truth.occluded[result.track.frames].sum())
    return {
        "title": "A man on a beam, a person in front (camera 2)",
        "caption": (
            f"{PROTOCOL}; {len(result.track)} frames, {hidden} hidden joint-frames. "
            "Truth triangulated from four views, error about 17 mm; one subject, one motion."
        ),
        "frozen": score(result.base),
        "adapted": score(result.adapted),
        "protocol": PROTOCOL,
        "frames": int(torch.numel(result.track.frames)),
    }
