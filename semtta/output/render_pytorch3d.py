"""The same picture drawn by pytorch3d, for those who have it (GPU rasteriser)."""

from __future__ import annotations

import numpy as np
import torch

from semtta.errors import SemttaError
from semtta.output.render import DEFAULT_COLOR


def require_pytorch3d() -> None:
    """Raise ``SemttaError`` if pytorch3d is not installed."""
    try:
        import pytorch3d.renderer  # noqa: F401
    except ImportError as error:
        raise SemttaError(
            "pytorch3d is not installed; it has no wheels for current Python, so install it with "
            "'pip install git+https://github.com/facebookresearch/pytorch3d.git' or from conda, "
            "or use the default renderer, which needs nothing."
        ) from error


def render_mesh(
    image: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray,
    K: np.ndarray,
    color: tuple[int, int, int] = DEFAULT_COLOR,
    alpha: float = 1.0,
) -> np.ndarray:
    """Draw a mesh over an image; arguments and result as ``semtta.output.render.render_mesh``.

    Raises:
        SemttaError: pytorch3d is not installed.
    """
    require_pytorch3d()
    from pytorch3d.renderer import (
        BlendParams,
        MeshRasterizer,
        MeshRenderer,
        PointLights,
        RasterizationSettings,
        SoftPhongShader,
        TexturesVertex,
    )
    from pytorch3d.structures import Meshes
    from pytorch3d.utils import cameras_from_opencv_projection

    vertices = np.asarray(vertices, np.float32)
    faces = np.asarray(faces, np.int64)
    usable = np.isfinite(vertices).all(1) & (vertices[:, 2] > 0.05)
    faces = faces[usable[faces].all(1)]
    if not len(faces):
        return image.copy()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    height, width = image.shape[:2]
    points = torch.as_tensor(np.nan_to_num(vertices), device=device)[None]
    tint = torch.tensor(color, dtype=torch.float32, device=device) / 255
    mesh = Meshes(
        points,
        torch.as_tensor(faces, device=device)[None],
        TexturesVertex(tint.expand(1, len(vertices), 3)),
    )
    # Its pixel (0, 0) is the corner of the first pixel; ours is the centre.
    intrinsics = torch.as_tensor(np.asarray(K, np.float32), device=device).clone()
    intrinsics[:2, 2] += 0.5
    cameras = cameras_from_opencv_projection(
        R=torch.eye(3, device=device)[None],
        tvec=torch.zeros(1, 3, device=device),
        camera_matrix=intrinsics[None],
        image_size=torch.tensor([[height, width]], device=device),
    )
    lights = PointLights(location=[[1.0, 1.5, -1.0]], device=device)
    renderer = MeshRenderer(
        MeshRasterizer(cameras, RasterizationSettings(image_size=(height, width))),
        SoftPhongShader(
            cameras=cameras, lights=lights, device=device,
            blend_params=BlendParams(sigma=1e-6, gamma=1e-6),
        ),
    )  # fmt: skip
    drawn = renderer(mesh)[0].detach().cpu().numpy()
    weight = alpha * (drawn[..., 3:] > 0)
    return (image * (1 - weight) + 255 * np.clip(drawn[..., :3], 0, 1) * weight).astype(np.uint8)
