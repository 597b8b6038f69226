"""GLB files, read again with nothing but the specification."""

import json
import shutil
import struct
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from page_results import waving

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.output.glb import left_out, write_glb
from semtta.output.skinned import joint_motion, median_betas, skinned_mesh
from semtta.skeletons import SMPL24, SMPL_PARENTS

_DTYPES = {5126: np.float32, 5125: np.uint32, 5123: np.uint16, 5121: np.uint8}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A reader that trusts nothing of the writer's code."""

    def __init__(self, path: Path):
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and size % 4 == 0
        self.json = json.loads(data[20 : 20 + size])
        start = 20 + size
        size, kind = struct.unpack_from("<I4s", data, start)
        assert kind == b"BIN\0" and start + 8 + size == len(data)
        self.binary = data[start + 8 :]
        self.parents = {
            child: i
            for i, node in enumerate(self.json["nodes"])
            for child in node.get("children", [])
        }

    def array(self, number: int) -> np.ndarray:
        accessor = self.json["accessors"][number]
        view = self.json["bufferViews"][accessor["bufferView"]]
        width = _WIDTHS[accessor["type"]]
        array = np.frombuffer(
            self.binary, _DTYPES[accessor["componentType"]], accessor["count"] * width,
            view["byteOffset"],
        )  # fmt: skip
        return array.reshape(-1, width) if width > 1 else array

    def animation(self, name: str) -> dict:
        return next(a for a in self.json["animations"] if a["name"] == name)

    def times(self, name: str) -> np.ndarray:
        return self.array(self.animation(name)["samplers"][0]["input"])

    def vertices(self, name: str, frame: int) -> np.ndarray:
        """The skinned mesh in the world of the file: joint matrices, then the mix of four."""
        local = [self._rest(node) for node in self.json["nodes"]]
        animation = self.animation(name)
        for channel in animation["channels"]:
            node, path = channel["target"]["node"], channel["target"]["path"]
            value = self.array(animation["samplers"][channel["sampler"]]["output"])[frame]
            local[node] = {**local[node], path: value.astype(float)}
        worlds: dict[int, np.ndarray] = {}

        def world(node: int) -> np.ndarray:
            if node not in worlds:
                own = np.eye(4)
                own[:3, :3] = _matrix(local[node]["rotation"])
                own[:3, 3] = local[node]["translation"]
                parent = self.parents.get(node)
                worlds[node] = own if parent is None else world(parent) @ own
            return worlds[node]

        skin = self.json["skins"][0]
        inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        matrices = np.array([world(j) @ m for j, m in zip(skin["joints"], inverse)])
        attributes = self.json["meshes"][0]["primitives"][0]["attributes"]
        ids, weights = self.array(attributes["JOINTS_0"]), self.array(attributes["WEIGHTS_0"])
        mixed = (weights[..., None, None] * matrices[ids]).sum(1)
        rest = np.c_[self.array(attributes["POSITION"]), np.ones(len(ids))]
        return np.einsum("vab,vb->va", mixed, rest)[:, :3]

    @staticmethod
    def _rest(node: dict) -> dict:
        return {
            "rotation": np.array(node.get("rotation", [0, 0, 0, 1]), float),
            "translation": np.array(node.get("translation", [0, 0, 0]), float),
        }


def _matrix(q: np.ndarray) -> np.ndarray:
    """Rotation matrix of a quaternion x, y, z, w, written out."""
    x, y, z, w = q / np.linalg.norm(q)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


@pytest.fixture(scope="module")
def track():
    return waving(frames=[0, 1, 2, 5, 6, 40])


@pytest.fixture(scope="module")
def glb(track, tmp_path_factory):
    path = tmp_path_factory.mktemp("glb") / "track.glb"
    write_glb(track, path, load_body())
    return Glb(path)


@pytest.mark.parametrize("name", ["adapted", "base"])
def test_the_skinned_vertices_are_those_of_the_library(track, glb, name):
    body = load_body(dtype=torch.float64)
    motion = getattr(track, name)
    betas = median_betas(track.adapted).double()
    # The pelvis stays where the frame's own shape and translation put it.
    still = torch.eye(3, dtype=torch.float64).expand(len(track.track), 24, 3, 3)
    own, shared = body.joints(still, motion.betas.double()), body.joints(still, betas)
    shift = own[:, :1] - shared[:, :1] + motion.trans[:, None]
    expected = (body.vertices(motion.rotmats.double(), betas) + shift).numpy()
    for t in range(len(expected)):
        found = glb.vertices(name, t) * [1, -1, -1]  # y up -> camera frame
        assert np.abs(found - expected[t]).max() < 1e-5  # 0.01 mm


def test_the_skeleton_is_smpls_and_the_times_are_true(track, glb):
    nodes = glb.json["nodes"]
    joints = glb.json["skins"][0]["joints"]
    assert [nodes[j]["name"] for j in joints] == list(SMPL24.joints)
    for j, parent in enumerate(SMPL_PARENTS):
        above = nodes[glb.parents[joints[j]]]["name"]
        assert above == (SMPL24.joints[parent] if parent >= 0 else "camera_to_y_up")
    assert [a["name"] for a in glb.json["animations"]] == ["adapted", "base"]
    for name in ("adapted", "base"):
        assert np.allclose(glb.times(name), np.array([0, 1, 2, 5, 6, 40]) / 30, atol=1e-6)
    extras = glb.json["asset"]["extras"]
    assert extras["frames"] == [0, 1, 2, 5, 6, 40]
    assert "pose blend shapes" in extras["limits"] and not extras["pose_blend_shapes_left_out"]


def test_rotations_take_the_short_way_between_frames(track):
    angles = torch.linspace(0, 4 * np.pi, 6)
    rotmats = track.adapted.rotmats.clone()
    rotmats[:, 0] = torch.tensor([[[c, 0, s], [0, 1, 0], [-s, 0, c]]
                                  for c, s in zip(angles.cos(), angles.sin())])  # fmt: skip
    q = joint_motion(replace(track.adapted, rotmats=rotmats), load_body()).rotations
    assert ((q[1:] * q[:-1]).sum(-1) >= 0).all()


def test_of_more_than_four_joints_the_largest_four_stay(track):
    body = load_body()
    body.weights = body.weights.clone()
    body.weights[7] = 0
    body.weights[7, :6] = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.06, 0.04])
    mesh = skinned_mesh(body, median_betas(track.adapted))
    assert mesh.joint_ids[7].tolist() == [0, 1, 2, 3]
    assert np.allclose(mesh.weights[7], np.array([0.3, 0.25, 0.2, 0.15]) / 0.9)
    assert mesh.lost_weight == pytest.approx(0.1)
    assert np.abs(mesh.weights.sum(1) - 1).max() < 1e-6
    assert left_out(load_body()) == []
    body.posedirs = torch.ones(body.num_vertices, 3, 207)
    blend_shapes, influences = left_out(body)
    assert "pose blend shapes" in blend_shapes and "90 % of the weight" in influences


def test_numbers_that_are_none_are_refused_and_nothing_is_written(track, tmp_path):
    trans = track.base.trans.clone()
    trans[3, 2] = torch.nan
    broken = replace(track, base=replace(track.base, trans=trans))
    with pytest.raises(SemttaError, match="track 1 has no finite base motion in frame 5"):
        write_glb(broken, tmp_path / "a.glb", load_body())
    with pytest.raises(SemttaError, match="cannot be written"):
        (tmp_path / "file").write_text("")
        write_glb(track, tmp_path / "file" / "a.glb", load_body())
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def _validator() -> list[str] | None:
    """Khronos' validator (`npm install -g gltf-validator`), if it is there."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True).stdout.strip()
    script = (
        f"const v = require({json.dumps(root + '/gltf-validator')}), fs = require('fs');"
        "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))"
        ".then(r => console.log(JSON.stringify(r.issues)))"
    )
    return ["node", "-e", script] if (Path(root) / "gltf-validator").is_dir() else None


def test_the_khronos_validator_finds_nothing(track):
    command = _validator()
    if command is None:
        pytest.skip("Node with gltf-validator is not installed")
    spiky = load_body()  # a vertex of no face has no normal
    spiky.faces = spiky.faces[(spiky.faces != 10).all(1)]
    with tempfile.TemporaryDirectory() as folder:
        for result, body in (
            (track, load_body()), (waving([7]), load_body()), (track, spiky)
        ):  # fmt: skip
            path = Path(folder) / "a.glb"
            write_glb(result, path, body)
            done = subprocess.run([*command, str(path)], capture_output=True, text=True)
            issues = json.loads(done.stdout)
            assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
