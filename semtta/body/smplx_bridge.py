"""The body as a ``smplx.SMPL`` object."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import torch

from semtta.errors import SemttaError
from semtta.skeletons import SMPL_PARENTS


def to_smplx(body):
    """Build a ``smplx.SMPL`` with the arrays of a body (see ``Body.to_smplx``)."""
    try:
        import smplx
    except ImportError as error:
        raise SemttaError("the package smplx is not installed; pip install smplx.") from error

    def array(tensor):
        return tensor.detach().cpu().numpy()

    posedirs = array(body.posedirs)
    if not posedirs.shape[-1]:
        posedirs = np.zeros((body.num_vertices, 3, 207), np.float32)
    struct = smplx.utils.Struct(
        v_template=array(body.v_template),
        shapedirs=array(body.shapedirs),
        posedirs=posedirs,
        J_regressor=array(body.joint_regressor),
        weights=array(body.weights),
        kintree_table=np.array([SMPL_PARENTS, range(24)], np.int64),
        f=array(body.faces),
    )
    # smplx selects its default vertices from any mesh, even one they do not belong to.
    names = smplx.vertex_ids.vertex_ids["smplh"]
    ids = {name: body.vertex_ids.get(name, 0) for name in names}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints about the shape components
        return smplx.SMPL("", data_struct=struct, vertex_ids=ids, dtype=torch.float32)
