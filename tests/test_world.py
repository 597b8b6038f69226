"""Up and the floor from people before a camera that stands still, and whether it does."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import test_exports as exports  # its made-up results
import torch

from semtta.body import load_body
from semtta.config import load_config
from semtta.engine import silent
from semtta.errors import SemttaError
from semtta.geometry import Camera, geodesic_degrees
from semtta.keypoints import Keypoints2D, Track
from semtta.output.axes import y_up, z_up
from semtta.output.files import report, track_arrays
from semtta.output.load import load_result
from semtta.skeletons import BODY27, SMPL24
from semtta.tta import world
from semtta.tta.evidence import Evidence
from semtta.tta.result import Motion, Result
from semtta.tta.still_camera import in_world
from semtta.tta.world import LEAST_CONFIDENCE, find_world, upright
from semtta.video import camera_shift, write_video

BODY = load_body()
CAMERA = Camera(1000.0, (639.5, 359.5))
FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
FPS = 30.0


def turned(*degrees: float) -> torch.Tensor:
    """A camera's pitch and roll, and the heading of the room."""
    angles = torch.deg2rad(torch.tensor([*degrees, *[0.0] * (3 - len(degrees))]))
    pitch, roll, heading = (roma.rotvec_to_rotmat(a * torch.eye(3)[i])
                            for a, i in zip(angles, (0, 2, 1)))  # fmt: skip
    return roll @ pitch @ FLIP @ heading


def walk(seconds: float = 3.0, step: float = 0.6, speed: float = 1.0):
    """Someone walking a curve on the floor y = 0: rotations and translation, y up, metres.

    Legs swing as a pair of scissors, feet stay flat, and the body is carried so that the foot that
    stands stays where it is."""
    times = torch.arange(int(seconds * FPS)) / FPS
    phase = 2 * torch.pi * speed * times / (2 * step)
    swing = 0.35 * phase.sin()
    lift = 0.5 * torch.stack((phase.cos(), -phase.cos()), 1).clamp_min(0)  # the leg that swings
    rotvecs = torch.zeros(len(times), 24, 3)
    for side, sign in enumerate((-1.0, 1.0)):
        name = ("left", "right")[side]
        hip, knee, ankle = (SMPL24.index(f"{name}_{part}") for part in ("hip", "knee", "ankle"))
        rotvecs[:, hip, 0] = sign * swing - lift[:, side]
        rotvecs[:, knee, 0] = 1.6 * lift[:, side]
        rotvecs[:, ankle, 0] = -sign * swing - 0.6 * lift[:, side]
    rotvecs[:, 0, 1] = 0.5 * times
    rotmats = roma.rotvec_to_rotmat(rotvecs)
    soles = BODY.vertices(rotmats, torch.zeros(len(times), 10))
    ankles = BODY.joints(rotmats, torch.zeros(len(times), 10))[:, SMPL24.indices(
        ["left_ankle", "right_ankle"])]  # fmt: skip
    lower = ankles[..., 1].argmin(1)
    trans = torch.zeros(len(times), 3)
    for t in range(1, len(times)):
        stays = ankles[t - 1, lower[t - 1]] - ankles[t, lower[t - 1]]
        trans[t] = trans[t - 1] + stays
    trans[:, 1] = -soles[..., 1].amin(1)
    return rotmats, trans


def standing(seconds: float = 2.0):
    rotmats = torch.eye(3).expand(int(seconds * FPS), 24, 3, 3).clone()
    trans = torch.zeros(len(rotmats), 3)
    trans[:, 1] = -BODY.vertices(rotmats[0], torch.zeros(10))[:, 1].min()
    return rotmats, trans


def seen_from(
    motion,
    turn: torch.Tensor,
    height: float = 1.4,
    away: float = 5.0,
    hidden=(),
    shake: float = 0.0,
) -> Result:
    """What a camera sees that stands ``height`` above the floor y = 0."""
    rotmats, trans = (part.clone() for part in motion)
    count, betas = len(rotmats), torch.zeros(len(rotmats), 10)
    pelvis = BODY.joints(torch.eye(3).expand(24, 3, 3), torch.zeros(10))[0]
    up = turn @ torch.tensor([0.0, 1.0, 0.0])
    ahead = torch.tensor([0.0, 0.0, 1.0])
    # The middle of the room lies ahead of the camera, on the floor's plane below it.
    level = torch.nn.functional.normalize(ahead - (ahead @ up) * up, dim=0)
    place = (trans + pelvis) @ turn.T + away * level - height * up - pelvis
    place = place + shake * torch.randn(place.shape, generator=torch.Generator().manual_seed(0))
    rotmats[:, 0] = turn @ rotmats[:, 0]
    points = BODY.landmarks(rotmats, betas, BODY27) + place[:, None]
    pixels = points[..., :2] / points[..., 2:] * CAMERA.focal + torch.tensor(CAMERA.center)
    conf = torch.ones(count, len(BODY27))
    conf[:, BODY27.indices(list(hidden))] = 0
    keypoints = Keypoints2D(pixels, conf, BODY27)
    boxes = torch.cat((pixels.amin(1), pixels.amax(1)), 1)
    frames = torch.arange(count)
    body = Motion(rotmats, betas, place, torch.ones(count, 3), pixels, place)
    return Result(
        Track(1, frames, frames.double() / FPS, boxes, keypoints), body, body, CAMERA,
        torch.ones(count, 3), Evidence.from_keypoints(keypoints, torch.ones(27).bool(), 0.3),
        [None] * count, None, None, None,
    )  # fmt: skip


def degrees(world, turn: torch.Tensor) -> float:
    """Between the up that was found and the true one."""
    up = turn @ torch.tensor([0.0, 1.0, 0.0])
    return float(torch.rad2deg(torch.acos((world.rotation[1] @ up).clamp(-1, 1))))


def soles(result: Result) -> torch.Tensor:
    """(T,) metres, the lowest vertex of each frame above the world's floor."""
    motion = result.adapted
    vertices = BODY.vertices(motion.rotmats, motion.betas) + motion.trans[:, None]
    return y_up(result.world).points(vertices)[..., 1].amin(1)


@pytest.mark.parametrize("tilt", [(0,), (20,), (-20,), (10, 15), (12, -8, 70)])
def test_a_walk_before_a_tilted_camera(tilt):
    turn = turned(*tilt)
    result = seen_from(walk(), turn)
    world = find_world([result], BODY, 0.0)
    assert world.confidence > 0.6 and degrees(world, turn) < 2.5
    heights = soles(replace(result, world=world))
    assert heights.abs().quantile(0.9) < 0.03
    upwards = turn @ torch.tensor([0.0, 1.0, 0.0])
    tilted = float(torch.rad2deg(torch.acos(-upwards[1])))
    said = re.search(r"stands (\S+) m above the floor, tilted by (\d+) degrees", world.note)
    assert float(said[1]) == pytest.approx(1.4, abs=0.1)
    assert float(said[2]) == pytest.approx(tilted, abs=3)


def test_rotating_the_camera_rotates_the_answer():
    first, second = turned(5, 3, 20), turned(-15, 10, 20)
    a, b = (find_world([seen_from(walk(), turn)], BODY, 0.0) for turn in (first, second))
    between = second @ first.T
    torch.testing.assert_close(between @ a.rotation[1], b.rotation[1], atol=1e-3, rtol=0)
    assert a.ground == pytest.approx(b.ground, abs=5e-3)
    assert a.confidence == pytest.approx(b.confidence, abs=1e-3)


def test_along_the_ground_nothing_changes_and_up_the_floor_does():
    turn = turned(10, 5)
    near, far, high = (
        find_world([seen_from(walk(), turn, **where)], BODY, 0.0)
        for where in ({}, {"away": 8.0}, {"height": 1.9})
    )
    for other in (far, high):
        torch.testing.assert_close(other.rotation, near.rotation, atol=1e-3, rtol=0)
    assert near.ground == pytest.approx(far.ground, abs=0.02)
    assert high.ground - near.ground == pytest.approx(-0.5, abs=0.02)


def test_two_people_share_one_world():
    turn = turned(15, -4)
    results = [seen_from(walk(), turn), replace(seen_from(standing(), turn, away=7.0))]
    placed = in_world(results, BODY, [result.track for result in results], silent)
    assert placed[0].world is placed[1].world and degrees(placed[0].world, turn) < 2.5
    assert all(soles(result).abs().median() < 0.03 for result in placed)


def test_up_stays_in_doubt_where_someone_only_stands():
    turn = turned(10)
    still = find_world([seen_from(standing(), turn)], BODY, 0.0)
    moving = find_world([seen_from(walk(), turn)], BODY, 0.0)
    assert still.confidence < moving.confidence
    assert still.confidence == 0 or "in doubt" in still.note


def test_a_foot_that_nobody_saw_is_no_contact():
    both, one = (
        find_world([seen_from(standing(), turned(10), hidden=hidden)], BODY, 0.0).checks
        for hidden in ((), [name for name in FEET if name.startswith("left")])
    )
    assert both["feet seen"] == one["feet seen"] == 1
    assert 0 < one["contacts"] < both["contacts"]


def look(soles, line=(0.0, 1.0, 0.0), standing=True):
    """A track of which one landmark's places (T, 3) are given; the others never rest."""
    count = len(soles)
    others = torch.arange(count, dtype=torch.float64)[:, None, None].expand(count, 5, 3) + 1
    return world._Look(
        torch.cat((soles[:, None].double(), others), 1), torch.ones(count, 6).bool(),
        0.01 * torch.arange(6).double(), torch.tensor(line).double().expand(count, 3),
        torch.full((count,), standing), torch.arange(count) / FPS, torch.ones(count - 1).bool(),
    )  # fmt: skip


def test_a_contact_is_where_a_landmark_rests_and_weighs_by_how_long():
    up = torch.tensor([0.0, 1.0, 0.0]).double()
    first, second = torch.tensor([0.0, 0.0, 5.0]), torch.tensor([0.6, 0.0, 5.0])
    soles = torch.cat((first.expand(12, 3), second.expand(5, 3), first.expand(3, 3)))
    points, heights, weights, feet = world._contacts(look(soles), up)
    # a frame beside a step does not rest: 11, 3 and 2 are left, of 30 a second; 0.2 s weigh one
    torch.testing.assert_close(points, torch.stack((first, second)).double())
    assert heights.tolist() == [0.0, 0.0] and weights.tolist() == pytest.approx([1.0, 0.5])
    assert feet == 2
    assert world._contacts(look(soles, standing=False), up)[3] == 0


def test_up_and_floor_are_the_minimum_of_what_the_module_says_it_fits():
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(30, 3, generator=generator).double() - 0.5  # a slope of 10 cm a metre
    points[:, 1] = 0.1 * points[:, 0] + 0.02 * torch.randn(30, generator=generator) - 1.2
    points[0, 1] += 1.0  # one foot in the air
    heights, weights = 0.02 * torch.rand(30, generator=generator).double(), torch.rand(30).double()
    line = torch.tensor([0.0, 1.0, 0.0]).double()
    up, floor, _ = world._fit(points, heights, weights, line, line)

    def cost(up, floor):
        off = (points @ up - heights - floor) / (world._KNEE * world._NOISE)
        feet = (weights * world._KNEE**2 * off.square().log1p()).sum()
        spread = torch.deg2rad(torch.tensor(world._BALANCE).double())
        return float(feet + (up - line).square().sum() / spread**2)

    best = cost(up, floor)
    assert 1 < float(torch.rad2deg(torch.acos(up @ line))) < 7
    for axis, angle in ((0, 0.3), (0, -0.3), (2, 0.3), (2, -0.3)):
        turn = roma.rotvec_to_rotmat(torch.deg2rad(torch.tensor(angle)) * torch.eye(3)[axis])
        assert cost(turn.double() @ up, floor) > best
    assert min(cost(up, floor + 0.005), cost(up, floor - 0.005)) > best


def lying():
    rotmats, trans = standing()
    rotmats[:, 0] = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, torch.pi / 2]))
    return rotmats, trans


def sitting():
    rotmats, trans = standing()
    for side in ("left", "right"):
        for part, angle in (("hip", -1.5), ("knee", 1.5)):
            turn = roma.rotvec_to_rotmat(torch.tensor([angle, 0.0, 0.0]))
            rotmats[:, SMPL24.index(f"{side}_{part}")] = turn
    return rotmats, trans


def skating():
    rotmats, trans = standing()
    trans[:, 0] += torch.arange(len(trans)) / FPS
    return rotmats, trans


FEET = [f"{side}_{part}" for side in ("left", "right")
        for part in ("ankle", "heel", "big_toe")]  # fmt: skip


@pytest.mark.parametrize(("motion", "hidden", "shift", "why"), [
    (lying, (), 0.0, "lying"), (sitting, (), 0.0, "nobody stands"),
    (skating, (), 0.0, "too few feet"), (walk, FEET, 0.0, "feet are hardly"),
    (walk, (), 0.05, "the camera does"), (lambda: walk(0.2), (), 0.0, "nobody stands"),
])  # fmt: skip
def test_nothing_is_invented(motion, hidden, shift, why):
    result = seen_from(motion(), turned(10), hidden=hidden)
    world = find_world([result], BODY, shift)
    assert world.confidence == 0 and world.ground == 0 and why in world.note
    assert world.note.endswith("the motion stays in the camera's frame.")
    torch.testing.assert_close(world.rotation, FLIP)
    placed = replace(result, world=world)
    arrays = track_arrays(placed, FPS, BODY)
    assert not {"trans_world", "ground", "world_from_camera"} & set(arrays)
    assert json.loads(json.dumps(report(placed, load_body())))["world"]["confidence"] == 0


def test_one_frame_and_a_shaking_figure_do_not_break_it():
    for result in (
        seen_from(tuple(part[:1] for part in walk()), turned(0)),
        seen_from(walk(), turned(0), shake=0.3),
    ):
        assert find_world([result], BODY, 0.0).confidence == 0


def test_a_camera_that_nobody_checked_is_in_doubt():
    world = find_world([seen_from(walk(), turned(10))], BODY, None)
    assert LEAST_CONFIDENCE < world.confidence <= 0.5 and "no picture" in world.note


def test_upright_is_a_rotation_for_every_up():
    ups = torch.nn.functional.normalize(torch.randn(200, 3, dtype=torch.float64), dim=1)
    ups = torch.cat((ups, torch.eye(3).double(), -torch.eye(3).double()))
    for up in ups:
        turn = upright(up)
        torch.testing.assert_close(turn @ turn.T, torch.eye(3).double())
        assert torch.linalg.det(turn) > 0
        torch.testing.assert_close(turn @ up, torch.tensor([0.0, 1, 0]).double())
    torch.testing.assert_close(upright(torch.tensor([0.0, -1, 0])), FLIP)


# ---------------------------------------------------------------------- the picture


def scenery() -> np.ndarray:
    """A wall with much to see, larger than the picture."""
    random = np.random.default_rng(0)
    wall = np.kron(random.integers(40, 220, (30, 40, 3)), np.ones((16, 16, 1)))
    return wall.astype(np.uint8)


def filmed(shifts, tmp_path: Path, figure=True, wall=None) -> Path:
    """A picture of the wall from places that differ by whole pixels, a dark figure walking."""
    wall, pictures = scenery() if wall is None else wall, []
    for t, shift in enumerate(shifts):
        picture = wall[40:400, 40 + shift : 520 + shift].copy()
        if figure:
            picture[100:340, 60 + 5 * t : 180 + 5 * t] = np.arange(0, 120, 1)[None, :, None]
        pictures.append(picture)
    path = tmp_path / "clip.mp4"
    write_video(path, iter(pictures), FPS, (480, 360))
    return path


def around(frame: int) -> np.ndarray:
    return np.array([[60 + 5 * frame, 100, 180 + 5 * frame, 340]])


@pytest.mark.parametrize(("shifts", "moves"), [
    ([0] * 24, False), (range(24), True), ([0] * 12 + [8] * 12, True),
    ([0, 4, 0, -4] * 6, True),
])  # fmt: skip
def test_whether_the_background_moves(shifts, moves, tmp_path):
    shift = camera_shift(filmed(shifts, tmp_path), 0, 23, around)
    assert shift is not None and (shift > 0.006) == moves and (shift < 0.002) != moves


def test_a_bare_wall_says_nothing(tmp_path):
    grey = np.full((480, 640, 3), 128, np.uint8)
    path = filmed([0] * 12, tmp_path, wall=grey)
    assert camera_shift(path, 0, 11, around) is None
    assert camera_shift(filmed([0] * 12, tmp_path), 5, 5, around) is None  # one frame


def test_a_moving_camera_gets_no_world(tmp_path):
    result, notes = seen_from(walk(), turned(10)), []

    def progress(stage, done, total, values):
        notes.append(values["text"])

    for shifts, found in (([0] * 90, True), (range(90), False)):
        video = filmed(shifts, tmp_path, figure=False)
        placed = in_world([result], BODY, [], progress, video)[0]
        assert (placed.world.confidence > 0) == found
    assert len(notes) == 2 and "the camera does" in notes[1]


# ---------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def placed():
    result = seen_from(walk(), turned(12, 6))
    return in_world([result], BODY, [result.track], silent)[0]


def test_arrays_say_where_the_body_is_in_the_world(placed):
    z = {key: torch.as_tensor(value) for key, value in track_arrays(placed, FPS, BODY).items()
         if value.dtype.kind in "if"}  # fmt: skip
    assert z["frames"].tolist() == list(range(len(placed.track)))
    for prefix in ("", "base_"):
        pose = torch.cat((z[f"{prefix}global_orient_world"], z[f"{prefix}body_pose"]), 1)
        rotmats = roma.rotvec_to_rotmat(pose.float().unflatten(1, (24, 3)))
        there = BODY.joints(rotmats, z[f"{prefix}betas"]) + z[f"{prefix}trans_world"][:, None]
        motion = placed.adapted
        here = BODY.joints(motion.rotmats, motion.betas) + motion.trans[:, None]
        turned_there = here @ z["world_from_camera"].T - torch.tensor([0, float(z["ground"]), 0])
        torch.testing.assert_close(there, turned_there.float(), atol=1e-4, rtol=0)
    assert 0 < float(z["world_confidence"]) == placed.world.confidence


def test_a_folder_keeps_its_world(placed, tmp_path):
    folder = exports.saved(tmp_path / "r", placed)
    world = load_result(folder).tracks[0].world
    torch.testing.assert_close(world.rotation, placed.world.rotation)
    assert world.ground == pytest.approx(placed.world.ground)
    assert (world.note, world.checks) == (placed.world.note, pytest.approx(placed.world.checks))
    path = folder / "track-01.npz"
    arrays = dict(np.load(path))
    for wrong in ({"world_from_camera": 2 * np.eye(3)}, {"world_confidence": np.float64(-1)},
                  {"ground": np.float64(np.nan)}, {"world_from_camera": -np.eye(3)}):  # fmt: skip
        np.savez(path, **(arrays | wrong))
        with pytest.raises(SemttaError, match="track-01.npz"):
            load_result(folder)
    del arrays["ground"]
    np.savez(path, **arrays)
    with pytest.raises(SemttaError, match="ground"):
        load_result(folder)


def test_exports_stand_on_the_floor(placed, tmp_path):
    import semtta

    folder = exports.saved(tmp_path / "r", placed)
    semtta.export(folder, "bvh,trc,ply,amass", every=30)
    names, _, points, _ = exports.posed(folder / "track-01.bvh")
    ankles = [names.index(f"{side}_ankle") for side in ("left", "right")]
    joints = BODY.joints(placed.adapted.rotmats, placed.adapted.betas)
    joints = y_up(placed.world).points(joints + placed.adapted.trans[:, None])
    lowest = joints[:, SMPL24.indices(["left_ankle", "right_ankle"]), 1].amin(1)
    np.testing.assert_allclose(points[:, ankles, 1].amin(1) / 100, lowest, atol=2e-3)
    z = np.load(folder / "track-01_amass.npz")
    rotmats = roma.rotvec_to_rotmat(torch.tensor(z["poses_smpl72"]).unflatten(1, (24, 3)))
    betas = torch.tensor(z["betas"][:10])
    vertices = BODY.vertices(rotmats, betas.expand(len(rotmats), 10))
    heights = vertices[..., 2].amin(1) + torch.tensor(z["trans"])[:, 2]
    assert heights.abs().quantile(0.9) < 0.03  # z up, on the floor
    assert geodesic_degrees(z_up(placed.world).turn, z_up(None).turn) > 10
    document = (folder / "track-01.glb").read_bytes()
    length = int.from_bytes(document[12:16], "little")
    nodes = json.loads(document[20 : 20 + length])["nodes"]
    turn = next(node for node in nodes if node["name"] == "camera_to_y_up")
    rotation = roma.unitquat_to_rotmat(torch.tensor(turn["rotation"]))
    torch.testing.assert_close(rotation, placed.world.rotation, atol=1e-5, rtol=0)
    assert turn["translation"] == pytest.approx([0, -placed.world.ground, 0])


def test_the_adapter_looks_for_it_only_when_told():
    import test_adapter as adapters

    from semtta.tta.adapter import Adapter

    track = adapters.walker(40)
    for motion in ("unknown", "static"):
        config = load_config("default", ["optimizer.epochs=0", f"camera.motion={motion}"])
        result = Adapter(adapters.tiny_model(), config=config).adapt(track, adapters.CAMERA)
        assert (result.world is not None) == (motion == "static")
    with pytest.raises(SemttaError, match="camera.motion"):
        load_config("default", ["camera.motion=handheld"])
