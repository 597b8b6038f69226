"""CameraHMR (Patel and Black 2025): HMR2.0's network, told where in the image its crop lies and how
wide the camera sees.

Layout, crop and camera are those of the authors' demo (``core/camerahmr_model.py``,
``core/heads/smpl_head_cliff.py``, ``core/datasets/dataset.py`` of ``pixelite1201/CameraHMR``); its
6D rotations are HMR2.0's, two columns one after the other (``core/utils/geometry.py``). There the
focal length comes from a network of its own (FLNet); here it is the video's camera.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from semtta.checkpoints import load_strictly, read_weights
from semtta.hmr.base import Batch, boxes_of
from semtta.hmr.hmr2 import HMR2, HMR2Settings
from semtta.hmr.preprocess import ImageCropSpec
from semtta.shipped import file_sha256

_BOX, _POSE, _BETAS, _CAM = 3, 144, 10, 3
_WHAT = "a CameraHMR checkpoint (its SMPL model)"
# What its files hold beside the network: a head for 2D points that nothing reads, the network of
# the focal length, body models, a flag.
_UNUSED = ("smpl_head.deckp.", "cam_model.", "smpl.", "smpl_layer.", "smpl_gt.", "smpl_gt_male.",
           "smpl_gt_female.", "initialized")  # fmt: skip


class CameraHMR(HMR2):
    """``HumanMeshRegressor`` that reads normalised RGB crops of 256 pixels, looks at the middle 192
    columns of them, and reads where they lie before the camera.

    It has neither dropout nor batch statistics, so ``train()`` changes nothing. Also the turns of
    the hands are its own (22 and 23), as in the authors' demo.

    Args:
        settings: size of the network.
        sha256: hash of the file that the weights came from, "" if they came from none.
    """

    # unlike HMR2.0's, the square around the box itself, however wide; nothing is blurred
    crop = ImageCropSpec(size=256, rule="affine", camera="full")
    name = "CameraHMR"
    told = _BOX + _POSE + _BETAS + _CAM

    def query(self, batch: Batch) -> Tensor:
        """(B, 160): the crop's centre and side in the normalised image plane, mean parameters."""
        boxes, head = boxes_of(batch, self.name), self.smpl_head
        means = torch.cat((head.init_body_pose, head.init_betas, head.init_cam), dim=1)
        return torch.cat((boxes.to(means), means.expand(len(boxes), -1)), dim=1)


def load_camerahmr(checkpoint: str | Path, settings: HMR2Settings | None = None) -> CameraHMR:
    """CameraHMR from the authors' Lightning checkpoint, float32 on the CPU, in eval mode.

    Args:
        checkpoint: e.g. ``camerahmr_checkpoint_cleaned.ckpt``.
        settings: size of the network in the file, None = the released one.

    Raises:
        SemttaError: the file is missing, damaged, unsafe, or of another network.
    """
    path = Path(checkpoint)
    weights = read_weights(
        path, _WHAT, lambda key: not key.startswith(_UNUSED), known="smpl_head.decpose.weight"
    )
    with torch.device("meta"):
        model = CameraHMR(settings or HMR2Settings())
    model.sha256 = file_sha256(path)
    return load_strictly(model, weights, path, _WHAT)
