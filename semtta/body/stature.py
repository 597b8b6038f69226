"""How tall and how heavy a body stands, and the likeliest shape of a given height and weight.

Betas are counted in standard deviations of a population, so of all shapes that have the height the
one nearest to where one starts is the likeliest. It is found by Newton's method on

    min |b - b0|^2   such that   log h(b) = log height   and   log m(b) = log mass

where h is the height of the mesh in the rest pose (feet to crown) and m its volume times a density.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semtta.body.model import Body
from semtta.errors import SemttaError

_DENSITY = 985.0  # kg/m^3, of a person who breathes; what SHAPY (Choutas et al. 2022) weighs with
_FARTHEST = 5.0  # standard deviations: beyond them a linear shape space shows nobody
_ROUNDS, _SETTLED = 50, 1e-6


def standing_height(body: Body, betas: Tensor) -> float:
    """Metres from the soles to the crown of a body of (10,) betas that stands upright."""
    return float(_height(_mesh(body, betas.double().to(body.v_template.device))))


def body_mass(body: Body, betas: Tensor) -> float:
    """Kilograms of a body of (10,) betas; raises ``SemttaError`` for a mesh with holes."""
    _check_closed(body)
    return float(_mass(_mesh(body, betas.double().to(body.v_template.device)), body.faces))


def shape_of(
    body: Body, betas: Tensor, height: float | None = None, mass: float | None = None
) -> Tensor:
    """The shape nearest to another that has a height, a mass, or both.

    Args:
        betas: (10,) from where to look.
        height: metres, standing; mass: kilograms. None = whatever comes.
    Returns: (10,), in the type and on the device of ``betas``. Raises ``SemttaError`` where the
        body has no such person."""
    if height is None and mass is None:
        return betas
    if mass is not None:
        _check_closed(body)
    start = betas.detach().double().to(body.v_template.device)

    def off(b: Tensor) -> Tensor:
        """(C,) log ratios that are to vanish."""
        mesh, wrong = _mesh(body, b), []
        if height is not None:
            wrong.append((_height(mesh) / height).log())
        if mass is not None:
            wrong.append((_mass(mesh, body.faces) / mass).log())
        return torch.stack(wrong)

    found = start
    for _ in range(_ROUNDS):
        wrong = off(found)
        if not bool(wrong.isfinite().all()) or float(found.abs().max()) > 10 * _FARTHEST:
            break
        if float(wrong.abs().max()) < _SETTLED:
            return _near(body, found, start, height, mass).to(betas)
        slope = torch.autograd.functional.jacobian(off, found)
        assert isinstance(slope, Tensor)
        found = start - torch.linalg.pinv(slope) @ (wrong + slope @ (start - found))
    raise SemttaError(f"body '{body.name}' has no person of {_said(height, mass)}.")


def _near(body: Body, found: Tensor, start: Tensor, height, mass) -> Tensor:
    """The shape itself; raises ``SemttaError`` for one that is nobody's."""
    farthest = float(found.abs().max())
    if farthest > max(_FARTHEST, float(start.abs().max())):
        raise SemttaError(
            f"body '{body.name}' has no person of {_said(height, mass)}: its shape would lie "
            f"{farthest:.1f} standard deviations from the mean (at most {_FARTHEST:g})."
        )
    return found


def _said(height: float | None, mass: float | None) -> str:
    parts = [None if height is None else f"{height:g} m", None if mass is None else f"{mass:g} kg"]
    return " and ".join(filter(None, parts))


def _mesh(body: Body, betas: Tensor) -> Tensor:
    """(V, 3) metres, double precision: in the rest pose, which stands upright with y up."""
    return body.v_template.double() + body.shapedirs.double() @ betas


def _height(mesh: Tensor) -> Tensor:
    return mesh[:, 1].amax() - mesh[:, 1].amin()


def _mass(mesh: Tensor, faces: Tensor) -> Tensor:
    a, b, c = (mesh[faces[:, corner]] for corner in range(3))
    return _DENSITY * (a * torch.linalg.cross(b, c)).sum() / 6


def _check_closed(body: Body) -> None:
    """Raise ``SemttaError`` unless every edge has a face on both sides, or there is no volume."""
    edges = torch.cat([body.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]).sort(1).values
    if not bool((edges.unique(dim=0, return_counts=True)[1] == 2).all()):
        raise SemttaError(f"body '{body.name}' has holes in its mesh, so shape.mass means nothing "
                          "to it; leave it out.")  # fmt: skip
