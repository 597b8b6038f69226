"""The body: joints, landmarks and mesh of SMPL-family models, differentiable in pose and shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from semtta.body.data import SMPL_VERTICES, BodyData, read_body
from semtta.body.landmarks import HIP_WIDTH, landmark_mixtures, mixture_row
from semtta.body.lbs import KinematicTree, skin
from semtta.body.search import file_names, require_body_file
from semtta.errors import SemttaError
from semtta.shipped import asset
from semtta.skeletons import SMPL24, SMPL_PARENTS, Skeleton

_TREE = KinematicTree(SMPL_PARENTS)


class Body(nn.Module):
    """An SMPL-family body of 24 joints and 10 shape coefficients; no trainable parameter.

    Rotations are relative to the parent joint, the first one is global. Results are in metres
    in the frame that the global rotation leads to. The body turns about its pelvis, which stays
    where the shape puts it (the origin for the CC0 body); no translation is added.
    All methods broadcast over ``...`` and follow the body's device and dtype.

    Args:
        data: arrays of a body file.
        gender: whose shape space the betas live in; "neutral" where nobody said.
    """

    skeleton = SMPL24

    v_template: Tensor
    shapedirs: Tensor
    weights: Tensor
    joint_regressor: Tensor
    posedirs: Tensor
    faces: Tensor
    joint_template: Tensor
    joint_shapedirs: Tensor
    landmark_vertices: Tensor
    landmark_matrix: Tensor

    def __init__(self, data: BodyData, dtype: torch.dtype = torch.float32,
                 gender: str = "neutral"):  # fmt: skip
        super().__init__()
        self.name, self.sha256, self.gender = data.name, data.sha256, gender
        self.vertex_ids = dict(data.vertex_ids)

        def keep(name, array):
            self.register_buffer(name, torch.as_tensor(array, dtype=dtype), persistent=False)

        keep("v_template", data.v_template)
        keep("shapedirs", data.shapedirs)
        keep("weights", data.weights)
        keep("joint_regressor", data.joint_regressor)
        no_posedirs = np.zeros((len(data.v_template), 3, 0))
        keep("posedirs", no_posedirs if data.posedirs is None else data.posedirs)
        self.register_buffer("faces", torch.as_tensor(data.faces), persistent=False)
        # The loop needs joints and a few vertices only: regress the joints of the template and
        # of each shape component once, instead of the joints of every shaped mesh.
        joints = data.joint_regressor @ data.v_template
        keep("joint_template", joints)
        keep("joint_shapedirs", np.einsum("jv,vck->jck", data.joint_regressor, data.shapedirs))
        names = list(data.vertex_ids)
        self.register_buffer(
            "landmark_vertices",
            torch.tensor([data.vertex_ids[name] for name in names], dtype=torch.long),
            persistent=False,
        )
        left, right = joints[SMPL24.index("left_hip")], joints[SMPL24.index("right_hip")]
        hip_factor = HIP_WIDTH / max(float(np.linalg.norm(left - right)), 1e-6)
        mixtures = landmark_mixtures(hip_factor, set(names))
        rows = [mixture_row(mixture, names) for mixture in mixtures.values()]
        rows.append([0.0] * len(rows[0]))  # what a landmark is that this body does not know
        keep("landmark_matrix", np.array(rows))
        self._landmark_rows = {name: i for i, name in enumerate(mixtures)}

    @property
    def is_smpl(self) -> bool:
        """Whether betas mean what they mean to SMPL: its mesh, from whatever file."""
        return self.num_vertices == SMPL_VERTICES

    @property
    def num_vertices(self) -> int:
        return len(self.v_template)

    def joints(self, rotmats: Tensor, betas: Tensor) -> Tensor:
        """Posed SMPL joints.

        Args:
            rotmats: (..., 24, 3, 3).
            betas: (..., 10).

        Returns:
            (..., 24, 3) metres.
        """
        rotmats, betas, batch = self._flat(rotmats, betas)
        _, positions = _TREE.chain(rotmats, self._rest(betas))
        return positions.unflatten(0, batch) if batch else positions[0]

    def landmarks(self, rotmats: Tensor, betas: Tensor, skeleton: Skeleton) -> Tensor:
        """What a detector would mark, by joint name; only the vertices it needs are skinned.

        Hips are drawn ``HIP_WIDTH`` apart (see ``semtta.body.landmarks``). For ``SMPL24`` this
        is :meth:`joints`.

        Args:
            rotmats: (..., 24, 3, 3).
            betas: (..., 10).
            skeleton: the landmarks asked for.

        Returns:
            (..., J, 3) metres; zeros where ``has_landmarks`` is False.
        """
        if skeleton == SMPL24:
            return self.joints(rotmats, betas)
        rotmats, betas, batch = self._flat(rotmats, betas)
        joints, points = self._posed(rotmats, betas, self.landmark_vertices)
        unknown = len(self._landmark_rows)
        rows = [self._landmark_rows.get(name, unknown) for name in skeleton.joints]
        found = self.landmark_matrix[rows] @ torch.cat([joints, points], 1)
        return found.unflatten(0, batch) if batch else found[0]

    def has_landmarks(self, skeleton: Skeleton) -> Tensor:
        """(J,) bool: which joints of a skeleton this body knows."""
        known = set(SMPL24.joints) if skeleton == SMPL24 else set(self._landmark_rows)
        return torch.tensor([name in known for name in skeleton.joints], device=self.faces.device)

    def vertices(self, rotmats: Tensor, betas: Tensor) -> Tensor:
        """The whole mesh.

        Args:
            rotmats: (..., 24, 3, 3).
            betas: (..., 10).

        Returns:
            (..., V, 3) metres.
        """
        rotmats, betas, batch = self._flat(rotmats, betas)
        _, points = self._posed(rotmats, betas, slice(None))
        return points.unflatten(0, batch) if batch else points[0]

    def to_smplx(self):
        """The same body as a ``smplx.SMPL`` (float32, on the CPU), for code written against it.

        The smplx package is licensed for non-commercial research; nothing else here uses it.
        """
        from semtta.body.smplx_bridge import to_smplx

        return to_smplx(self)

    def _flat(self, rotmats: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, torch.Size]:
        if rotmats.shape[-3:] != (24, 3, 3):
            raise ValueError(f"rotmats must be (..., 24, 3, 3), not {tuple(rotmats.shape)}")
        if betas.shape[-1:] != (10,):
            raise ValueError(f"betas must be (..., 10), not {tuple(betas.shape)}")
        batch = torch.broadcast_shapes(rotmats.shape[:-3], betas.shape[:-1])
        rotmats = rotmats.expand(*batch, 24, 3, 3).reshape(-1, 24, 3, 3)
        return rotmats, betas.expand(*batch, 10).reshape(-1, 10), batch

    def _rest(self, betas: Tensor) -> Tensor:
        return self.joint_template + _blend(self.joint_shapedirs, betas)

    def _posed(self, rotmats: Tensor, betas: Tensor, chosen) -> tuple[Tensor, Tensor]:
        """Posed joints (B, 24, 3) and posed chosen vertices (B, K, 3)."""
        rest = self._rest(betas)
        rotations, positions = _TREE.chain(rotmats, rest)
        points = self.v_template[chosen] + _blend(self.shapedirs[chosen], betas)
        if self.posedirs.shape[-1]:
            identity = torch.eye(3, dtype=rotmats.dtype, device=rotmats.device)
            feature = (rotmats[:, 1:] - identity).flatten(1)
            points = points + _blend(self.posedirs[chosen], feature)
        return positions, skin(rotations, positions, rest, points, self.weights[chosen])


def _blend(directions: Tensor, coefficients: Tensor) -> Tensor:
    """(N, 3, K) directions mixed by (B, K) coefficients: (B, N, 3)."""
    return (coefficients @ directions.flatten(0, 1).T).unflatten(1, (-1, 3))


def load_body(
    name: str | Path | None = None,
    *,
    gender: str = "neutral",
    search: Path | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Body:
    """Load a body.

    Args:
        name: None or 'cc0' for the shipped body; 'smpl' for the user's SMPL file, searched for
            in ``search``, $SEMTTA_BODY_MODELS, ./body_models and the user data folder; or the
            path of an SMPL file (.pkl as downloaded, or .npz).
        gender: 'neutral', 'male' or 'female'; only 'smpl' has genders.
        search: folder searched first.

    Raises:
        SemttaError: no file found, or not a body file; says where and what to do.
    """
    file_names(gender)  # refuses an unknown gender, whatever the body
    if name is None or str(name) == "cc0":
        data = read_body(asset("body/cc0_body.npz"), "cc0")
    elif str(name) == "smpl":
        data = read_body(require_body_file(gender, search), "smpl")
        return Body(data, dtype, gender).to(device)
    elif Path(name).expanduser().is_file():
        data = read_body(Path(name).expanduser())
    else:
        raise SemttaError(
            f"there is no body '{name}': use 'cc0', 'smpl' or the path of an SMPL file."
        )
    return Body(data, dtype).to(device)
