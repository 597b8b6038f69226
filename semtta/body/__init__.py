"""SMPL-family bodies: the shipped CC0 body and the user's own SMPL files."""

from __future__ import annotations

from semtta.body.model import Body, load_body
from semtta.body.regressor import JointRegressor, load_regressor, regress
from semtta.body.search import find_body_file, searched_paths

__all__ = [
    "Body",
    "JointRegressor",
    "find_body_file",
    "load_body",
    "load_regressor",
    "regress",
    "searched_paths",
]
