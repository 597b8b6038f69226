"""Results without a run: someone who waves in front of the camera."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import roma
import torch

from semtta.body import load_body
from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D, Track
from semtta.output.write import write_results
from semtta.skeletons import BODY27
from semtta.tta.evidence import Evidence
from semtta.tta.result import Motion, Result
from semtta.video import probe, video_hash, write_video

HIDDEN = BODY27.index("right_wrist")
SETTINGS = "body:\n  name: cc0\n  gender: neutral\noptimizer:\n  epochs: {}\n"
EIGHT = SETTINGS.format(8)


def waving(frames=range(12), track_id=1, fps=30.0, labels=None, seed=0) -> Result:
    """Base is rougher than adapted; one wrist is hidden in the second half and filled there, but
    for the last frame."""
    torch.manual_seed(seed)
    frames = torch.tensor(list(frames))
    count = len(frames)
    rotvecs = 0.2 * torch.randn(1, 24, 3) + 0.05 * torch.randn(count, 24, 3)
    rotvecs[:, 0] = torch.tensor([np.pi, 0, 0])  # upright: the body's y is up, the camera's down
    rotvecs[:, 16, 2] += torch.sin(frames / 5)
    rough = rotvecs + 0.1 * torch.randn(rotvecs.shape) * (torch.arange(24) > 0)[:, None]
    camera = Camera(800.0, (320.0, 240.0))
    base, adapted = (_motion(r, camera) for r in (rough, rotvecs))
    conf = torch.full((count, len(BODY27)), 0.9)
    conf[count // 2 :, HIDDEN] = 0
    seen = adapted.landmarks2d + torch.randn(adapted.landmarks2d.shape)
    points = Keypoints2D(seen * (conf > 0)[..., None], conf, BODY27)
    evidence = Evidence.from_keypoints(points, torch.ones(len(BODY27), dtype=torch.bool), 0.3)
    gate = torch.arange(count) < count - 1
    evidence.fill(adapted.landmarks2d, gate, 3, torch.ones(count))
    boxes = torch.tensor([200.0, 60, 440, 420]).expand(count, 4)
    return Result(
        track=Track(track_id, frames, frames.double() / fps, boxes, points),
        base=base, adapted=adapted, camera=camera,
        boxes=torch.tensor([320.0, 240, 400]).expand(count, 3), evidence=evidence,
        labels=labels or ["waving"] * count, similarity=0.4 + 0.5 * torch.rand(count),
        gate_similarity=0.2 + 0.7 * torch.rand(count), sigma=0.5,
    )  # fmt: skip


def _motion(rotvecs: torch.Tensor, camera: Camera) -> Motion:
    rotmats = roma.rotvec_to_rotmat(rotvecs)
    betas = 0.5 * torch.randn(1, 10) + 0.02 * torch.randn(len(rotvecs), 10)
    trans = torch.tensor([0.2, 0.1, 4.0]) + 0.02 * torch.randn(len(rotvecs), 3)
    points = load_body().landmarks(rotmats, betas, BODY27) + trans[:, None]
    pixels = points[..., :2] / points[..., 2:] * camera.focal + torch.tensor(camera.center)
    return Motion(rotmats, betas, trans, torch.zeros(len(rotvecs), 3), pixels, trans)


def video_of(frames: int, path: Path, fps: float = 30.0) -> Path:
    """A video that grows brighter from frame to frame."""
    images = (np.full((720, 1280, 3), 16 + 16 * (i % 15), np.uint8) for i in range(frames))
    return write_video(path, images, fps, (1280, 720))


def result_folder(
    folder: Path, results, clip: Path, settings: str = EIGHT, page: bool = False, **said
) -> Path:
    """What ``semtta adapt`` leaves, but for the overlay.

    Args:
        said: parts of the provenance that differ from the usual."""
    folder.mkdir(parents=True)
    body = load_body()
    made = {"video": {"name": clip.name, "sha256": video_hash(clip)},
            "body": {"name": "cc0", "sha256": body.sha256}} | said  # fmt: skip
    results = [replace(result, provenance=made) for result in results]
    write_results(folder, results, body, probe(clip), settings, overlay=False, page=page)
    return folder


def moved(result: Result, by=(0.0, 0.0, 0.0), pixels: float = 0.0) -> Result:
    """The same with its adapted motion elsewhere, in metres and in the picture."""
    adapted = result.adapted
    adapted = replace(adapted, trans=adapted.trans + torch.tensor(by),
                      landmarks2d=adapted.landmarks2d + torch.tensor([pixels, 0.0]))  # fmt: skip
    return replace(result, adapted=adapted)
