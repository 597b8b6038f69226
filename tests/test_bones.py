"""Rotations that 3D landmarks show: right, from everywhere the same, silent where unknown."""

from __future__ import annotations

import pytest
import roma
import torch

from semtta.body import load_body
from semtta.geometry import mirror_pose
from semtta.hmr.bones import READ, outlined, read_pose
from semtta.skeletons import BODY27, SMPL24

SEEN = torch.ones(27)


@pytest.fixture(scope="module")
def body():
    return load_body()


def pose(seed: int = 0, frames: int = 12) -> torch.Tensor:
    """(T, 24, 3, 3) arms hang, knees, hips and elbows are bent, all else is a little turned."""
    generator = torch.Generator().manual_seed(seed)
    angles = 0.1 * torch.randn(frames, 24, 3, generator=generator)
    bend = 0.3 + torch.rand(frames, 4, generator=generator)
    for i, (hip, knee, shoulder, elbow, sign) in enumerate(((1, 4, 16, 18, 1), (2, 5, 17, 19, -1))):
        angles[:, hip, 0] -= 0.5 * bend[:, i]
        angles[:, knee] = bend[:, i, None] * torch.tensor([1.0, 0.0, 0.0])
        angles[:, shoulder, 2] -= sign * 1.1
        angles[:, elbow] = -sign * bend[:, 2 + i, None] * torch.tensor([0.0, 1.0, 0.0])
    return roma.rotvec_to_rotmat(angles)


def landmarks(body, rotmats: torch.Tensor) -> torch.Tensor:
    return body.landmarks(rotmats, torch.zeros(len(rotmats), 10), BODY27)


def degrees(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(roma.rotmat_geodesic_distance(one, other))


def test_a_posed_bodys_rotations_are_read_off_its_landmarks(body):
    rotmats = pose()
    found, known = read_pose(landmarks(body, rotmats), SEEN.expand(12, 27))
    assert (known == 1).all()
    off = degrees(found, rotmats[:, READ]).mean(0)
    limits = {"hip": 15, "knee": 10, "shoulder": 15, "elbow": 10, "pelvis": 15, "ankle": 35}
    for name, limit in limits.items():
        for i, joint in enumerate(READ):
            if SMPL24.joints[joint].endswith(name):
                assert off[i] < limit, (SMPL24.joints[joint], off[i])


def test_rotations_are_rotations(body):
    found, _ = read_pose(landmarks(body, pose(1)), SEEN.expand(12, 27))
    assert torch.allclose(found @ found.mT, torch.eye(3).expand_as(found), atol=1e-4)
    assert torch.allclose(torch.linalg.det(found), torch.ones(found.shape[:-2]), atol=1e-4)


def test_a_hinge_turns_by_the_angle_between_its_bones(body):
    points = landmarks(body, pose(2))
    found, _ = read_pose(points, SEEN.expand(12, 27))
    for names, joint in ((("hip", "knee", "ankle"), "knee"),
                         (("shoulder", "elbow", "wrist"), "elbow")):  # fmt: skip
        for side in ("left", "right"):
            top, middle, end = (points[:, BODY27.index(f"{side}_{n}")] for n in names)
            cosine = torch.cosine_similarity(middle - top, end - middle, dim=-1)
            turned = found[:, READ.index(SMPL24.index(f"{side}_{joint}"))]
            angle = degrees(turned, torch.eye(3).expand_as(turned))
            assert torch.allclose(angle, torch.rad2deg(cosine.acos()), atol=0.1)


def test_where_and_how_large_somebody_is_changes_nothing_and_turning_only_the_pelvis(body):
    points, conf = landmarks(body, pose(3)), SEEN.expand(12, 27)
    found, _ = read_pose(points, conf)
    moved, _ = read_pose(1.7 * points + torch.tensor([3.0, -2.0, 5.0]), conf)
    assert torch.allclose(moved, found, atol=1e-3)
    turn = roma.rotvec_to_rotmat(torch.tensor([0.4, -1.1, 0.7]))
    turned, _ = read_pose(points @ turn.T, conf)
    assert torch.allclose(turned[:, 1:], found[:, 1:], atol=1e-3)
    assert torch.allclose(turned[:, 0], turn @ found[:, 0], atol=1e-3)


def test_the_mirrored_person_has_the_mirrored_pose(body):
    points, conf = landmarks(body, pose(4)), SEEN.expand(12, 27)
    mirrored = points[:, list(BODY27.flip)] * torch.tensor([-1.0, 1.0, 1.0])
    whole = torch.eye(3).repeat(12, 24, 1, 1)
    whole[:, READ] = read_pose(points, conf)[0]
    expected = mirror_pose(whole)[:, READ]
    assert torch.allclose(read_pose(mirrored, conf)[0], expected, atol=1e-3)


def test_what_hangs_on_a_missing_landmark_is_unknown_and_the_rest_stays(body):
    points = landmarks(body, pose(5))
    conf = SEEN.repeat(12, 1)
    whole, _ = read_pose(points, conf)
    conf[:, BODY27.index("left_knee")] = 0
    conf[:, BODY27.index("right_wrist")] = 0.3
    found, known = read_pose(points, conf)
    lost = [READ.index(SMPL24.index(f"left_{name}")) for name in ("hip", "knee", "ankle")]
    doubted = READ.index(SMPL24.index("right_elbow"))
    assert (known[:, lost] == 0).all() and (found[:, lost] == torch.eye(3)).all()
    assert torch.allclose(known[:, doubted], torch.tensor(0.3))
    kept = [i for i in range(len(READ)) if i not in lost]
    assert torch.equal(found[:, kept], whole[:, kept])
    assert (known[:, [i for i in kept if i != doubted]] == 1).all()


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_landmarks_without_extent_show_nothing(value):
    found, known = read_pose(torch.full((2, 27, 3), value), SEEN.expand(2, 27))
    assert torch.isfinite(found).all() and (known[:, 0] == 0).all()


def test_outlines_keep_lengths_and_right_limbs_and_mend_flat_ones(body):
    points, conf = landmarks(body, pose(6)), SEEN.expand(12, 27)
    plane = 80 * points[..., :2] + 7  # seen from afar
    knee, ankle = BODY27.indices(("left_knee", "left_ankle"))
    true = points[:, ankle] - points[:, knee]
    shank = true * torch.tensor([1.0, 1.0, 0.4])
    shank = shank / shank.norm(dim=-1, keepdim=True) * true.norm(dim=-1, keepdim=True)
    flat = points.clone()
    flat[:, BODY27.indices(("left_ankle", "left_heel", "left_big_toe"))] += (shank - true)[:, None]
    mended, short = outlined(flat, conf, plane, conf)
    said = mended[:, ankle] - mended[:, knee]
    assert torch.allclose(said.norm(dim=-1), true.norm(dim=-1), atol=1e-4)

    deep = true[:, 2].abs() > 0.4 * true.norm(dim=-1)
    assert deep.sum() >= 3

    def off(bone: torch.Tensor) -> torch.Tensor:
        return torch.cosine_similarity(bone, true, dim=-1).clamp(-1, 1).acos()[deep].mean()

    assert off(said) < 0.6 * off(shank)
    assert (short >= 0).all() and (short <= 1).all()
    foot = mended[:, BODY27.index("left_heel")] - mended[:, ankle]
    assert torch.allclose(foot, points[:, BODY27.index("left_heel")] - points[:, ankle], atol=1e-4)


def test_without_2d_the_3d_stays_as_it_is(body):
    points, conf = landmarks(body, pose(7)), SEEN.expand(12, 27)
    same, short = outlined(points, conf, torch.zeros(12, 27, 2), torch.zeros(12, 27))
    assert torch.equal(same, points) and (short == 0).all()


def test_a_bone_that_points_at_the_camera_looks_short():
    points, conf = torch.zeros(1, 27, 3), SEEN.clone()[None]
    points[0, BODY27.indices(("left_shoulder", "right_shoulder")), 1] = -0.49
    points[0, BODY27.index("left_knee")] = torch.tensor([0.0, 0.0, -0.4])
    points[0, BODY27.index("right_knee")] = torch.tensor([0.0, 0.4, 0.0])
    conf[0, BODY27.indices(("left_elbow", "right_elbow"))] = 0
    _, short = outlined(points, conf, points[..., :2], conf)
    assert short[0, 0] == 1 and short[0, 1] < 0.05
    assert short[0, 4] == 0  # nothing is known of a bone without an end
    points[0, BODY27.index("left_knee")] = torch.tensor([0.1, 0.0, -0.39])
    _, short = outlined(points, conf, points[..., :2], conf)
    assert short[0, 0] > 0.7


def test_slopes_are_finite_where_a_bone_shows_its_whole_length():
    """A root's slope at zero is infinite: networks that make landmarks would learn NaN."""
    points = torch.zeros(27, 3)
    points[:, 0] = torch.arange(27.0) / 10
    flat = points[:, :2].clone().requires_grad_()
    points.requires_grad_()
    turned, short = outlined(points, torch.ones(27), flat, torch.ones(27))
    (turned.sum() + short.sum()).backward()
    assert torch.isfinite(points.grad).all() and torch.isfinite(flat.grad).all()
