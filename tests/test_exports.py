"""What other programs get: every file read back is the library's own motion."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from hostile import altered, flipped, hostile, refuses_or_reads
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from test_adapter import CAMERA, walker
from test_cli import refused, run  # noqa: F401  (a fixture)

import semtta
from semtta.body import load_body
from semtta.config import config_to_yaml, load_config
from semtta.errors import SemttaError
from semtta.geometry import geodesic_degrees, keypoint_boxes, project, square_boxes
from semtta.geometry.euler import euler_angles
from semtta.motion.bvh import read_bvh
from semtta.motion.motion_files import list_motions, read_motion
from semtta.output import exports
from semtta.output.bvh import write_bvh
from semtta.output.load import load_result
from semtta.output.trc import MARKERS
from semtta.output.write import write_results
from semtta.skeletons import BODY27, HALPE26, SMPL24, SMPL_PARENTS, Skeleton
from semtta.tta.evidence import Evidence
from semtta.tta.result import Motion, Result
from semtta.video import VideoInfo

BODY = load_body()
Y_UP = torch.tensor([1.0, -1.0, -1.0])
ALL = "glb,bvh,trc,joints,amass,obj,ply"


def moving(rotmats, betas, trans) -> Motion:
    points = BODY.landmarks(rotmats, betas, BODY27) + trans[:, None]
    pixels = project(points, CAMERA.focal, torch.tensor(CAMERA.center))
    return Motion(rotmats, betas, trans, torch.ones(len(trans), 3), pixels, trans)


def made(count=40, fps=30.0, kept=None, betas=None, id=1) -> Result:
    """A result that no adaptation has seen: a walker who comes nearer, every joint turning."""
    track = walker(count, id=id, fps=fps)
    kept = torch.arange(count) if kept is None else torch.as_tensor(kept)
    generator = torch.Generator().manual_seed(id)
    phase = torch.arange(count)[:, None, None] / fps * 3
    rotvec = 0.4 * torch.randn(1, 24, 3, generator=generator) * (phase + torch.rand(24, 1)).sin()
    rotmats = roma.rotvec_to_rotmat(rotvec)
    rotmats[:, 0] = torch.diag(Y_UP) @ rotmats[:, 0]
    trans = torch.stack([0.3 * phase[:, 0, 0].sin(), torch.zeros(count), 5 - phase[:, 0, 0] / 5], 1)
    betas = torch.zeros(count, 10) if betas is None else betas.expand(count, 10)
    adapted = moving(rotmats[kept], betas[kept], trans[kept])
    turned = roma.rotvec_to_rotmat(1.1 * rotvec[kept])
    turned[:, 0] = torch.diag(Y_UP) @ turned[:, 0]
    points = track.keypoints[kept]
    track = replace(
        track, frames=track.frames[kept], times=track.times[kept].double(), keypoints=points,
        boxes=keypoint_boxes(points.xy, points.conf), landmarks3d=None, conf3d=None,
    )  # fmt: skip
    evidence = Evidence.from_keypoints(points, torch.ones(27).bool(), 0.3)
    evidence.fill(
        adapted.landmarks2d, torch.ones(len(kept)).bool(), 2, torch.full((len(kept),), 0.5)
    )
    body = {"name": BODY.name, "sha256": BODY.sha256}
    return Result(
        track, moving(turned, betas[kept], trans[kept]), adapted, CAMERA,
        square_boxes(track.boxes, 1.2), evidence, ["walk"] * len(kept), torch.rand(len(kept)),
        torch.full((len(kept),), torch.nan), 0.5, [{"epoch": 1, "loss": 0.1}], {"body": body},
    )  # fmt: skip


def saved(folder: Path, *results: Result, fps=30.0) -> Path:
    folder.mkdir(parents=True)
    info = VideoInfo(Path("clip.mp4"), 640, 480, fps, None)
    settings = config_to_yaml(load_config())
    write_results(folder, list(results), BODY, info, settings, overlay=False, page=False)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("r") / "result", made(betas=torch.randn(10)))


@pytest.fixture
def own(folder, tmp_path):
    """A copy that may be spoilt."""
    return Path(shutil.copytree(folder, tmp_path / "own"))


def posed(path: Path) -> tuple[list[str], torch.Tensor, torch.Tensor, float]:
    """A BVH file's joints: names, global rotations, positions, frame time; no other reader's."""
    head, motion = path.read_text().split("MOTION\n")
    names, parents, offsets, channels, stack = [], [], [], [], []
    for line in head.splitlines():
        word, *rest = line.split()
        if word in ("ROOT", "JOINT", "End"):
            names.append(rest[0])
            parents.append(stack[-1] if stack else -1)
            channels.append([])
            stack.append(len(names) - 1)
        elif word == "OFFSET":
            offsets.append(np.array(rest, float))
        elif word == "CHANNELS":
            channels[-1] = rest[1:]
        elif word == "}":
            stack.pop()
    frames, step, *rows = motion.splitlines()
    values = np.array([row.split() for row in rows], float)
    assert frames == f"Frames: {len(values)}"
    rotations, positions, column = [], [], 0
    for i, parent in enumerate(parents):
        block = values[:, column : column + len(channels[i])]
        column += len(channels[i])
        order = "".join(c[0] for c in channels[i] if c.endswith("rotation"))
        local = np.broadcast_to(np.eye(3), (len(values), 3, 3))
        if order:
            local = Rotation.from_euler(order, block[:, -3:], degrees=True).as_matrix()
        rotations.append(local if parent < 0 else rotations[parent] @ local)
        positions.append(block[:, :3] + offsets[i] if parent < 0
                         else positions[parent] + rotations[parent] @ offsets[i])  # fmt: skip
    real = [i for i, name in enumerate(names) if name != "Site"]
    return ([names[i] for i in real], torch.tensor(np.stack([rotations[i] for i in real], 1)),
            torch.tensor(np.stack([positions[i] for i in real], 1)),
            float(step.split()[-1]))  # fmt: skip


def globals_of(rotmats: torch.Tensor) -> torch.Tensor:
    out = [rotmats[:, 0]]
    for joint in range(1, 24):
        out.append(out[SMPL_PARENTS[joint]] @ rotmats[:, joint])
    return torch.stack(out, 1)


# ---------------------------------------------------------------------- reading a result


def test_a_result_folder_read_back_is_the_result(tmp_path):
    result = made(kept=[0, 1, 2, 5, 6, 9], betas=torch.randn(10))
    found = load_result(saved(tmp_path / "r", result, fps=29.97))
    track = found.track(1)
    assert (found.video, found.body, found.gender) == ("clip.mp4", "cc0", "neutral")
    assert track.fps == 29.97 and track.labels == result.labels and track.sigma == 0.5
    assert track.history == result.history and track.provenance == result.provenance
    for ours, theirs in ((result.base, track.base), (result.adapted, track.adapted)):
        assert float(geodesic_degrees(ours.rotmats, theirs.rotmats).max()) < 0.01
        for name in ("betas", "trans", "cam", "landmarks2d"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
    for name in ("xy", "present", "weight", "filled_in", "detected"):
        assert torch.equal(getattr(result.evidence, name), getattr(track.evidence, name))
    assert torch.equal(track.track.frames, result.track.frames)
    assert torch.equal(track.track.times, result.track.times)
    assert track.detections.skeleton == BODY27
    assert found.load_body().sha256 == BODY.sha256


def test_the_body_of_a_result_is_the_one_it_was_made_with_or_a_sentence(own, tmp_path):
    text = (own / "config.yaml").read_text()
    (own / "config.yaml").write_text(text.replace("name: cc0", "name: smpl"))
    with pytest.raises(SemttaError, match="'smpl' .*body-models.*was found"):
        semtta.export(own, "bvh", body_models=tmp_path)
    (own / "config.yaml").write_text(text.replace("name: cc0", "name: 'C:\\bodies\\HERS.npz'"))
    with pytest.raises(SemttaError, match="HERS.npz"):
        semtta.export(own, "bvh")
    shutil.copy(Path(semtta.__file__).parent / "assets/body/cc0_body.npz", tmp_path / "HERS.npz")
    assert semtta.export(own, "bvh", body_models=tmp_path) == [own / "track-01.bvh"]
    (own / "config.yaml").write_text(text.replace("name: cc0", "name: ~nobody/x.npz"))
    with pytest.raises(SemttaError, match="~nobody"):
        semtta.export(own, "trc")
    (own / "config.yaml").write_text(text)
    report = json.loads((own / "report.json").read_text())
    report["tracks"][0]["provenance"]["body"]["sha256"] = "0" * 64
    (own / "report.json").write_text(json.dumps(report))
    with pytest.raises(SemttaError, match="betas mean something else"):
        semtta.export(own, "trc", body_models=tmp_path)
    assert not (own / "track-01.trc").exists()


# ---------------------------------------------------------------------- BVH


def test_bvh_holds_the_bodys_joints_and_rotations(folder, tmp_path):
    [path] = semtta.export(folder, "bvh", tmp_path)
    names, rotations, positions, step = posed(path)
    motion = load_result(folder).track(1).adapted
    order = [names.index(name) for name in SMPL24.joints]
    joints = (BODY.joints(motion.rotmats, motion.betas) + motion.trans[:, None]) * Y_UP
    assert float((positions[:, order] / 100 - joints).norm(dim=-1).max()) < 1e-4
    ours = torch.diag(Y_UP) @ globals_of(motion.rotmats)
    assert float(geodesic_degrees(ours.double(), rotations[:, order]).max()) < 0.01
    assert step == pytest.approx(1 / 30, abs=1e-9)


@pytest.mark.parametrize("shape", [0.0, 1.0])
def test_our_own_reader_of_bvh_reads_back_what_was_written(tmp_path, shape):
    """Of another body too: its bones point elsewhere, which is no pose."""
    result = made(fps=25.0, betas=shape * torch.linspace(-1, 1, 10))
    [path] = semtta.export(saved(tmp_path / "r", result, fps=25.0), "bvh", tmp_path)
    rotmats, pelvis, fps = read_bvh(path)
    named = [i for i, name in enumerate(SMPL24.joints) if not name.endswith("hand")]
    ours = result.adapted.rotmats.clone()
    ours[:, 0] = torch.diag(Y_UP) @ ours[:, 0]
    turned = geodesic_degrees(torch.from_numpy(rotmats), ours)[:, named]
    assert float(turned.max()) < 0.01
    pelvis_there = (BODY.joints(ours, result.adapted.betas)[:, 0] + result.adapted.trans) * Y_UP
    if not shape:  # a body of another size walks as far as its legs are long
        assert np.abs(pelvis - pelvis_there.numpy()).max() < 1e-4
    assert fps == pytest.approx(25.0, abs=1e-6)


@given(st.integers(0, 10_000), st.sampled_from([0, 1e-8, 1e-6, 1e-4, 0.3]))
@hostile
def test_any_rotation_survives_bvh_at_gimbal_lock_too(tmp_path_factory, seed, away):
    generator = np.random.default_rng(seed)
    angles = generator.uniform(-np.pi, np.pi, (6 * 24, 3))
    angles[:, 1] = np.pi / 2 * generator.choice([-1, 1], len(angles)) + away * angles[:, 1]
    order = generator.choice(["XYZ", "YXZ", "ZXY", "ZYX"])
    rotmats = Rotation.from_euler(order, angles).as_matrix().reshape(6, 24, 3, 3)
    rotmats = torch.tensor(rotmats, dtype=torch.float32)
    result = made(6)
    track = exports.SavedTrack(**vars(replace(
        result, adapted=moving(rotmats, result.adapted.betas, result.adapted.trans)
    )), fps=30.0)  # fmt: skip
    path = tmp_path_factory.mktemp("b") / "x.bvh"
    write_bvh(track, path, BODY)
    names, rotations, positions, _ = posed(path)
    chosen = [names.index(name) for name in SMPL24.joints]
    ours = torch.diag(Y_UP) @ globals_of(rotmats)
    assert float(geodesic_degrees(ours.double(), rotations[:, chosen]).max()) < 0.01
    joints = (BODY.joints(rotmats, track.adapted.betas) + track.adapted.trans[:, None]) * Y_UP
    assert float((positions[:, chosen] / 100 - joints).norm(dim=-1).max()) < 1e-4


@pytest.mark.parametrize("order", ["XYZ", "YXZ", "ZXY", "ZYX", "XZY", "YZX"])
def test_euler_angles_follow_a_motion_through_whole_turns_and_lock(order):
    t = np.linspace(0, 1, 401)[:, None]
    angles = np.concatenate([9 * t, 4 * np.pi * t, -7 * t], 1)  # the middle one passes lock 4 times
    rotmats = Rotation.from_euler(order, angles).as_matrix()
    found = euler_angles(rotmats, order)
    lock = np.abs(np.cos(angles[:, 1])) < 1e-9  # there the third stays as it was
    assert lock.sum() == 4 and np.abs(found - angles)[~lock].max() < 1e-6
    assert np.abs(found[lock, 2] - angles[lock.nonzero()[0] - 1, 2]).max() < 1e-6
    assert np.abs(Rotation.from_euler(order, found).as_matrix() - rotmats).max() < 1e-6
    assert np.abs(np.diff(found, axis=0)).max() < 0.05


def test_euler_angles_start_near_zero_wherever_the_motion_ends():
    turn = np.linspace(3.0, 3.4, 9)[:, None] * [1, 0, 0]
    found = euler_angles(Rotation.from_euler("ZXY", turn).as_matrix(), "ZXY")
    assert np.abs(found - turn).max() < 1e-6


def test_a_gap_is_bridged_in_bvh_blank_in_trc_and_said(tmp_path):
    kept = [*range(10), *range(16, 24)]
    result = made(24, kept=kept)
    notes = []
    paths = semtta.export(
        saved(tmp_path / "r", result), "bvh,trc", tmp_path,
        progress=lambda stage, done, total, values: notes.append(values.get("text")),
    )  # fmt: skip
    assert any("lacks 6 frames" in note for note in notes if note)
    _, rotations, _, _ = posed(paths[0])
    assert len(rotations) == 24
    ours = torch.diag(Y_UP) @ result.adapted.rotmats[:, 0]
    assert float(geodesic_degrees(rotations[kept, 0], ours.double()).max()) < 0.01
    bridge = geodesic_degrees(rotations[9:16, 0], rotations[10:17, 0])
    assert float(bridge.max() - bridge.min()) < 0.01  # one even turn
    _, table = trc(paths[1])
    there = ~np.isnan(table["Nose"][:, 0])
    assert there.nonzero()[0].tolist() == kept
    assert table["Frame#"].tolist() == list(range(24))


def test_uneven_times_become_even_and_that_is_said(tmp_path):
    result = made(30)
    times = torch.arange(30) / 30 + 0.4 * (torch.arange(30) > 14).double()
    result = replace(result, track=replace(result.track, times=times))
    notes = []
    [path] = semtta.export(
        saved(tmp_path / "r", result), "bvh", tmp_path,
        progress=lambda stage, done, total, values: notes.append(values.get("text")),
    )  # fmt: skip
    assert any("not evenly timed" in note for note in notes if note)
    assert len(posed(path)[1]) == 30 + 12


# ---------------------------------------------------------------------- TRC


def trc(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Read as OpenSim does: tabs divide, what is blank after the last tab of a line is lost."""

    def cells(line):
        tokens = line.split("\t")
        return tokens if tokens[-1] else tokens[:-1]

    lines = path.read_text().split("\n")
    assert lines[0].split() == ["PathFileType", "4", "(X/Y/Z)", path.name]
    keys, values = cells(lines[1]), cells(lines[2])
    assert keys == ["DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate",
                    "OrigDataStartFrame", "OrigNumFrames"]  # fmt: skip
    header = dict(zip(keys, values, strict=True))
    labels = [cell for cell in cells(lines[3]) if cell]
    assert labels[:2] == ["Frame#", "Time"] and len(labels) == int(header["NumMarkers"]) + 2
    axes = [cell for cell in cells(lines[4]) if cell]
    assert axes == [f"{a}{k}" for k in range(1, len(labels) - 1) for a in "XYZ"]
    assert lines[5] == "" and lines[-1] == ""
    rows = [cells(line) for line in lines[6:-1]]
    assert len(rows) == int(header["NumFrames"])
    assert all(len(row) == 2 + 3 * (len(labels) - 2) for row in rows)
    numbers = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows])
    table = {"Frame#": numbers[:, 0].astype(int), "Time": numbers[:, 1]}
    for k, label in enumerate(labels[2:]):
        table[label] = numbers[:, 2 + 3 * k : 5 + 3 * k]
    return header, table


def test_trc_read_as_opensim_reads_it_holds_the_bodys_landmarks(folder, tmp_path):
    [path] = semtta.export(folder, "trc", tmp_path)
    header, table = trc(path)
    assert header["Units"] == "m" and float(header["DataRate"]) == 30
    motion = load_result(folder).track(1).adapted
    points = BODY.landmarks(motion.rotmats, motion.betas, HALPE26) + motion.trans[:, None]
    assert set(table) == {"Frame#", "Time", *MARKERS.values()} and len(MARKERS) == 21
    for name, label in MARKERS.items():
        ours = points[:, HALPE26.index(name)] * Y_UP
        assert np.abs(table[label] - ours.numpy()).max() < 1e-6
    start = int(header["OrigDataStartFrame"])
    rate = float(header["DataRate"])
    assert np.abs(table["Time"] - (table["Frame#"] - start) / rate).max() < 1e-5
    heads = table["Neck"][:, 1] - table["Hip"][:, 1]
    assert heads.min() > 0.2  # y is up


# ---------------------------------------------------------------------- joints


def test_joints_are_the_landmarks_of_the_result(folder, tmp_path):
    sheet, content = semtta.export(folder, "joints", tmp_path)
    track = load_result(folder).track(1)
    rows = list(csv.DictReader(sheet.open(encoding="utf-8")))
    data = json.loads(content.read_text())
    assert len(rows) == 40 * (27 + 24) and data["frames"] == track.track.frames.tolist()
    names = list(zip(data["set"], data["joint"]))
    for prefix, motion in (("", track.adapted), ("base_", track.base)):
        points = BODY.landmarks(motion.rotmats, motion.betas, BODY27) + motion.trans[:, None]
        joints = BODY.joints(motion.rotmats, motion.betas) + motion.trans[:, None]
        xyz = torch.cat((points, joints), 1).numpy()
        assert np.abs(np.array(data[f"{prefix}xyz"]) - xyz).max() < 1e-5
        uv = np.array(data[f"{prefix}uv"])
        assert np.abs(uv[:, :27] - motion.landmarks2d.numpy()).max() < 0.006
        seen = xyz[..., :2] / xyz[..., 2:] * CAMERA.focal + CAMERA.center
        assert np.abs(uv - seen).max() < 0.05
        shaped = [[float(row[f"{prefix}{a}"]) for a in "xyzuv"] for row in rows]
        both = np.concatenate((np.array(data[f"{prefix}xyz"]), uv), -1).reshape(-1, 5)
        assert np.abs(np.array(shaped) - both).max() < 1e-4
    hidden = (track.detections.conf == 0).nonzero()
    assert len(hidden) and track.evidence.filled_in.any()
    for t, j in hidden.tolist():
        row = rows[t * 51 + j]
        assert (row["set"], row["joint"]) == ("landmark", BODY27.joints[j]) == names[j]
        assert row["detected_u"] == "" and data["detected_uv"][t][j] == [None, None]
        assert row["filled"] == "1" and data["filled"][t][j] is True and row["weight"] == "0.500"
        assert float(row["confidence"]) == 0
    assert rows[30]["set"] == "smpl" and rows[30]["confidence"] == rows[30]["evidence_u"] == ""


def test_a_landmark_that_the_body_does_not_know_is_empty_not_zero(tmp_path):
    result = made(5)
    points = replace(result.detections, skeleton=Skeleton("x", ("head_top", *BODY27.joints[1:])))
    result = replace(result, evidence=replace(result.evidence, raw=points))
    sheet, content = semtta.export(saved(tmp_path / "r", result), "joints", tmp_path)
    row = next(csv.DictReader(sheet.open()))
    assert row["joint"] == "head_top" and row["x"] == row["u"] == row["base_z"] == ""
    assert json.loads(content.read_text())["xyz"][0][0] == [None] * 3


# ---------------------------------------------------------------------- meshes, AMASS


def test_obj_and_ply_hold_the_bodys_vertices_and_faces(folder, tmp_path):
    obj, ply = semtta.export(folder, "obj,ply", tmp_path, every=7)
    motion = load_result(folder).track(1).adapted
    names = [f"{frame:06d}" for frame in range(0, 40, 7)]
    assert [p.name for p in sorted(obj.iterdir())] == [f"{name}.obj" for name in names]
    assert [p.name for p in sorted(ply.iterdir())] == [f"{name}.ply" for name in names]
    for name in names[::2]:
        t = int(name)
        ours = (BODY.vertices(motion.rotmats[t], motion.betas[t]) + motion.trans[t]) * Y_UP
        lines = [line.split() for line in (obj / f"{name}.obj").read_text().splitlines()]
        vertices = np.array([line[1:] for line in lines if line[0] == "v"], float)
        faces = np.array([line[1:] for line in lines if line[0] == "f"], int)
        assert np.abs(vertices - ours.numpy()).max() < 1e-5
        assert np.array_equal(faces - 1, BODY.faces.numpy())
        head, data = (ply / f"{name}.ply").read_bytes().split(b"end_header\n", 1)
        assert f"element vertex {len(ours)}\n".encode() in head
        points = np.frombuffer(data, "<f4", 3 * len(ours)).reshape(-1, 3)
        assert np.abs(points - ours.numpy()).max() < 1e-5
        rest = np.frombuffer(data[12 * len(ours) :], [("n", "u1"), ("f", "<i4", 3)])
        assert (rest["n"] == 3).all() and np.array_equal(rest["f"], BODY.faces.numpy())


def test_long_mesh_sequences_are_written_only_when_asked_for(tmp_path):
    folder = saved(tmp_path / "r", made(301))
    with pytest.raises(SemttaError, match="301 for track 1; --every N"):
        semtta.export(folder, "trc,obj", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    [ply] = semtta.export(folder, "ply", tmp_path / "out", every=100)
    assert len(list(ply.iterdir())) == 4


@pytest.mark.parametrize("fps, rate", [(30.0, 30), (30000 / 1001, 30), (25.0, 25), (60.0, 60)])
def test_amass_for_smplx_read_as_amass_is_the_motion(tmp_path, fps, rate):
    result = made(40, fps=fps, betas=torch.randn(10))
    paths = semtta.export(saved(tmp_path / "r", result, fps=fps), "amass", tmp_path)
    assert [path.name for path in paths] == ["track-01_amass156.npz", "track-01_amass165.npz"]
    with np.load(paths[0]) as z:
        assert z["poses"].shape[1] == 156 and int(z["mocap_framerate"]) == rate
    with np.load(paths[1]) as z:
        assert z["poses"].shape[1] == 165 and z["mocap_frame_rate"] == rate
        assert not z["betas"].any() and z["gender"] == "neutral"
        assert np.abs(np.diff(z["poses"], axis=0)).max() < 1.0
        assert (z["trans"][:, 1] > 3).all() and np.abs(z["trans"][:, 2]).max() < 1  # z is up
    clip = read_motion(list_motions(paths[1])[0])
    assert len(clip) == int((39 / fps) * 30 + 0.05) + 1
    first = result.adapted.rotmats[0].clone()
    first[0] = torch.diag(Y_UP) @ first[0]
    turned = geodesic_degrees(torch.from_numpy(clip.rotmats[0, :22]), first[:22])
    assert float(turned.max()) < 0.05
    pelvis = (BODY.joints(first, result.adapted.betas[0])[0] + result.adapted.trans[0]) * Y_UP
    assert np.abs(clip.trans[0] - pelvis.numpy()).max() < 1e-4


# ---------------------------------------------------------------------- the command


def test_the_command_writes_everything_of_all_tracks_and_twice_the_same(run, tmp_path):  # noqa: F811
    folder = saved(tmp_path / "my result", made(12), made(9, id=3))
    code, out, err = run("export", folder, "-f", ALL, "-o", "a")
    assert code == 0, err
    assert "track-03.bvh" in out and "Traceback" not in err
    assert run("export", folder, "-f", ALL, "-o", "b", "--quiet")[:2] == (0, "")
    first = sorted(p.relative_to("a") for p in Path("a").rglob("*") if p.is_file())
    assert len(first) == 2 * 7 + 2 * (12 + 9)
    assert all((Path("a") / p).read_bytes() == (Path("b") / p).read_bytes() for p in first)
    assert not any(p.name.startswith(".") for p in tmp_path.rglob("*"))
    assert run("export", folder, "-f", "bvh", "--track", "3")[0] == 0
    assert (folder / "track-03.bvh").exists() and not (folder / "track-01.bvh").exists()
    load_result(folder)  # is still one


def test_bad_requests_are_one_sentence_and_write_nothing(run, own, tmp_path):  # noqa: F811
    before = sorted(tmp_path.rglob("*"))
    refused(run("export", own, "-f", "bvh,fbx"), "no format 'fbx'; --format takes one or more of "
            "glb,bvh,trc,joints,amass,obj,ply")  # fmt: skip
    refused(run("export", own, "-f", ","), "name a format")
    refused(run("export", own), "Missing option")
    refused(run("export", own, "-f", "bvh", "--track", "7"), "has no track 7; it has 1")
    refused(run("export", own, "-f", "obj", "--every", "0"), "--every is at least 1")
    refused(run("export", "nowhere", "-f", "bvh"), "result 'nowhere' does not exist")
    refused(run("export", own / "report.json", "-f", "bvh"), "is a file, not a folder")
    refused(run("export", tmp_path, "-f", "bvh"), "is not a result of `semtta adapt`")
    taken = own / "report.json" / "x"
    refused(run("export", own, "-f", "bvh", "-o", taken, "--quiet"), "cannot be written")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_there_is_replaced_only_on_request(run, own, tmp_path):  # noqa: F811
    assert run("export", own, "-f", "bvh,ply", "--every", "9")[0] == 0
    (own / "track-01.bvh").write_text("old")
    refused(run("export", own, "-f", "trc,bvh"), "exists already; add --overwrite")
    assert (own / "track-01.bvh").read_text() == "old" and not (own / "track-01.trc").exists()
    refused(run("export", own, "-f", "ply", "--every", "5"), "exists already; add --overwrite")
    assert run("export", own, "-f", "bvh,ply", "--every", "5", "--overwrite")[0] == 0
    assert (own / "track-01.bvh").read_text() != "old"
    assert len(list((own / "track-01_ply").iterdir())) == 8
    (own / "track-01_ply" / "thesis.txt").write_text("")
    refused(run("export", own, "-f", "ply", "--every", "5", "--overwrite"), "other files")


@pytest.mark.parametrize("name", ["bvh", "trc", "joints", "amass", "obj", "ply"])
def test_on_a_full_disk_nothing_half_written_stays(folder, tmp_path, monkeypatch, name):
    def full(writer):
        def write(track, path, body):
            writer(track, path, body)
            raise OSError(28, "No space left on device")

        return write

    files = {ending: full(writer) for ending, writer in exports.FORMATS[name].items()}
    monkeypatch.setitem(exports.FORMATS, name, files)
    with pytest.raises(SemttaError, match="cannot be written: No space left"):
        semtta.export(folder, name, tmp_path / "out", every=20)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# ---------------------------------------------------------------------- strangers' folders


def test_a_track_whose_gap_is_a_lifetime_is_refused(tmp_path):
    result = made(4)
    times = torch.tensor([0.0, 0.1, 0.2, 9e8]).double()
    result = replace(result, track=replace(result.track, times=times))
    with pytest.raises(SemttaError, match="gaps included"):
        semtta.export(saved(tmp_path / "r", result), "joints,bvh", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change, words", [
    ({"trans": None}, "it has no 'trans'"),
    ({"trans": np.zeros((40, 2), np.float32)}, "'trans' has shape"),
    ({"betas": np.full((40, 10), np.nan, np.float32)}, "'betas' holds NaN"),
    ({"fps": np.float64(0)}, "frame rate"),
    ({"fps": np.array("x")}, "'fps' holds"),
    ({"frames": np.arange(40)[::-1]}, "must increase"),
    ({"times": np.zeros(40)}, "do not increase"),
    ({"detected_conf": np.full((40, 27), 2.0)}, "between 0 and 1"),
    ({"landmark_names": np.array(["a"] * 27)}, "not unique"),
    ({"track_id": np.int64(2)}, "holds track 2"),
    ({"labels": np.zeros(40)}, "'labels' holds"),
])  # fmt: skip
def test_a_damaged_track_is_one_sentence(own, change, words):
    with np.load(own / "track-01.npz") as z:
        arrays = {key: z[key] for key in z.files}
    arrays = {k: v for k, v in (arrays | change).items() if v is not None}
    np.savez(own / "track-01.npz", **arrays)
    with pytest.raises(SemttaError, match=re.escape(words)):
        load_result(own)


def test_an_empty_track_is_one_sentence(own):
    with np.load(own / "track-01.npz") as z:
        arrays = {k: z[k][:0] if z[k].shape[:1] == (40,) else z[k] for k in z.files}
    np.savez(own / "track-01.npz", **arrays)
    with pytest.raises(SemttaError, match="no frames"):
        load_result(own)


@given(st.data())
@hostile
def test_any_damage_to_a_result_is_a_sentence_or_a_result(folder, tmp_path_factory, data):
    own = Path(shutil.copytree(folder, tmp_path_factory.mktemp("h") / "r"))
    name = data.draw(st.sampled_from(["track-01.npz", "config.yaml", "report.json"]))
    path = own / name
    if name == "report.json" and data.draw(st.booleans()):
        path.write_text(json.dumps(data.draw(altered(json.loads(path.read_text())))))
    else:
        path.write_bytes(data.draw(flipped(path.read_bytes())))
    refuses_or_reads(lambda: semtta.export(own, "glb,bvh,trc,joints,amass", own / "out"))


@given(st.data())
@hostile
def test_odd_arrays_in_a_result_are_a_sentence_or_a_result(folder, tmp_path_factory, data):
    own = Path(shutil.copytree(folder, tmp_path_factory.mktemp("h") / "r"))
    with np.load(own / "track-01.npz") as z:
        arrays = {key: z[key] for key in z.files}
    key = data.draw(st.sampled_from(sorted(arrays)))
    odd = arrays[key].copy()
    if odd.dtype.kind in "fi":
        value = data.draw(st.sampled_from([0, -1, 1e-30, 1e8, 1e30, np.nan, np.inf, -np.inf]))
        flat = odd.astype(float).reshape(-1)
        flat[data.draw(st.integers(0, len(flat) - 1)) :: data.draw(st.integers(1, 50))] = value
        odd = flat.reshape(odd.shape)
    else:
        odd[...] = data.draw(st.sampled_from(["", "\x1b[2J", "=1+1", "\ud800", "a" * 9]))
    arrays[key] = odd
    np.savez(own / "track-01.npz", **arrays)
    refuses_or_reads(lambda: semtta.export(own, "glb,bvh,trc,joints,amass", own / "out"))
