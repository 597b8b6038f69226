"""From the camera's axes (x right, y down, z forward) to those of other programs."""

from __future__ import annotations

import torch

# x right, y up, z towards the camera: BVH, TRC, OBJ, PLY. Half a turn about x.
Y_UP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
# x right, y away from the camera, z up: AMASS.
Z_UP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
