"""HMR's iterative error feedback (Kanazawa et al. 2018), as SPIN's heirs and CLIFF have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor, nn

from semtta.errors import SemttaError
from semtta.hmr.base import Prediction
from semtta.reading import read_npz, reading

JOINTS, POSE, BETAS, CAM = 24, 144, 10, 3
INITIAL = ("init_pose", "init_shape", "init_cam")
_ITERATIONS = 3


class IterativeRegressor(nn.Module):
    """Base of networks that hold the regressor's layers directly, under the names that every
    public checkpoint uses."""

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def add_regressor(self, features: int, hidden: int = 1024) -> None:
        """Make the layers, for features (B, ``features``)."""
        self.fc1 = nn.Linear(features + POSE + BETAS + CAM, hidden)
        self.drop1 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(hidden, hidden)
        self.drop2 = nn.Dropout(0.5)
        self.decpose = nn.Linear(hidden, POSE)
        self.decshape = nn.Linear(hidden, BETAS)
        self.deccam = nn.Linear(hidden, CAM)
        upright = torch.eye(3)[:, :2].flatten().repeat(JOINTS)
        self.register_buffer("init_pose", upright[None])
        self.register_buffer("init_shape", torch.zeros(1, BETAS))
        self.register_buffer("init_cam", torch.tensor([[0.9, 0.0, 0.0]]))

    def regressor(self) -> list[nn.Module]:
        """The layers that learn."""
        return [self.fc1, self.fc2, self.decpose, self.decshape, self.deccam]

    def iterate(self, features: Tensor) -> tuple[Prediction, list[Tensor]]:
        """Features (B, F) -> prediction, and fc1, its dropout and fc2 (B, hidden) of each step."""
        with torch.autocast(features.device.type, enabled=False):  # angles want full precision
            return self._iterate(features.to(self.fc1.weight.dtype))

    def _iterate(self, features: Tensor) -> tuple[Prediction, list[Tensor]]:
        pose, betas, cam = (getattr(self, name).expand(len(features), -1) for name in INITIAL)
        hidden = []
        for _ in range(_ITERATIONS):
            first = self.fc1(torch.cat((features, pose, betas, cam), dim=1))
            dropped = self.drop1(first)
            second = self.fc2(dropped)  # the official network has no activation here
            x = self.drop2(second)
            pose = pose + self.decpose(x)
            betas = betas + self.decshape(x)
            cam = cam + self.deccam(x)
            hidden += [first, dropped, second]
        return Prediction(decode(pose), betas, cam), hidden


def decode(pose: Tensor) -> Tensor:
    """(B, 144) -> (B, 24, 3, 3). The six numbers are the first two columns of the matrix,
    interleaved: R00 R01 R10 R11 R20 R21 (SPIN's and CLIFF's ``imutils.rot6d_to_rotmat``)."""
    return roma.special_gramschmidt(pose.unflatten(1, (JOINTS, 3, 2)))


def with_mean_params(
    weights: dict[str, Tensor], path: Path, mean_params: str | Path | None
) -> dict[str, Tensor]:
    """Weights of a checkpoint, and SPIN's mean parameters where it lacks them.

    Raises ``SemttaError`` if they are missing in both."""
    if all(name in weights for name in INITIAL) or "decpose.weight" not in weights:
        return weights
    if mean_params is None:
        raise SemttaError(
            f"'{path}' holds no mean parameters (init_pose, init_shape, init_cam); name SPIN's "
            "smpl_mean_params.npz."
        )
    return {**read_mean_params(mean_params), **weights}


def read_mean_params(path: str | Path) -> dict[str, Tensor]:
    """SPIN's ``smpl_mean_params.npz`` as the buffers that start the iterative regressor.

    Returns: init_pose (1, 144), init_shape (1, 10), init_cam (1, 3), numbers as in the file."""
    path = Path(path)
    if not path.is_file():
        raise SemttaError(f"there is no file of mean parameters '{path}'.")
    names = ("pose", "shape", "cam")
    try:
        found = read_npz(path, "SPIN's smpl_mean_params.npz", names)
        with reading(path, "SPIN's smpl_mean_params.npz"):
            arrays = {key: torch.from_numpy(found[key].astype(np.float32)) for key in names}
    except SemttaError as error:
        raise SemttaError(
            f"'{path}' is not SPIN's smpl_mean_params.npz with pose, shape, cam: {error}"
        ) from None
    for key, count in (("pose", POSE), ("shape", BETAS), ("cam", CAM)):
        if arrays[key].numel() != count or not torch.isfinite(arrays[key]).all():
            raise SemttaError(f"'{path}': '{key}' must hold {count} finite numbers.")
    return {f"init_{key}": value.reshape(1, -1) for key, value in arrays.items()}
