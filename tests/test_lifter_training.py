"""What the lifters are trained with: angles and views, losses, the detector's errors, resuming."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import roma
import torch

from semtta.bench import landmark_noise as bench
from semtta.bench.landmark_noise import NoiseModel, Random
from semtta.body import load_body
from semtta.hmr.features import OFFSETS, window_index
from semtta.hmr.lifter import Lifter, LifterSettings
from semtta.skeletons import BODY27

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tools are not installed

from tools.train_lifter import Recipe, Training, facing_loss, limb_losses  # noqa: E402
from tools.training.detector_errors import figures  # noqa: E402
from tools.training.landmark_noise import BROAD, TrainingNoise, observe  # noqa: E402
from tools.training.synthetic import BROAD_VIEW, MotionPool, Synthesizer  # noqa: E402
from tools.training.views import VIEWS, facing, flexion, turned_by, view_of  # noqa: E402

KNEE = BODY27.indices(("left_hip", "left_knee", "left_ankle"))
SMALL = LifterSettings(embed=16, width=24, blocks=1)


def standing() -> torch.Tensor:
    """(1, 27, 3) all joints of a limb on a vertical line, limbs apart."""
    points = torch.tensor([0.0, 0.0, 3.0]).repeat(1, 27, 1)
    for side, x in (("left", 0.2), ("right", -0.2)):
        for row, names in enumerate((("shoulder", "hip"), ("elbow", "knee"), ("wrist", "ankle"))):
            for column, name in enumerate(names):
                points[0, BODY27.index(f"{side}_{name}")] = torch.tensor(
                    [x * (1 + column), 0.4 * row + 0.5 * column, 3.0]
                )
    return points


def bent(degrees: float, towards: float = 1.0) -> torch.Tensor:
    """Standing, the left shank turned by so much out of the picture's plane."""
    points, angle = standing(), torch.deg2rad(torch.tensor(degrees))
    shank = 0.4 * torch.stack((torch.tensor(0.0), angle.cos(), towards * angle.sin()))
    points[0, KNEE[2]] = points[0, KNEE[1]] + shank
    return points


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.mark.parametrize("degrees", [0.0, 1.0, 90.0, 150.0])
def test_flexion_is_the_angle_between_the_bones(degrees):
    assert torch.allclose(
        flexion(bent(degrees), "knee")[0], torch.tensor([degrees, 0.0]), atol=0.05
    )
    assert torch.allclose(flexion(bent(degrees), "elbow"), torch.zeros(1, 2), atol=0.05)


@pytest.mark.parametrize(("turn", "view"), [(0, "frontal"), (45, "oblique"), (-90, "side"),
                                            (135, "back"), (180, "back")])  # fmt: skip
def test_views_are_told_by_where_the_pelvis_faces(turn, view):
    to_camera = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    yaw = torch.deg2rad(torch.tensor(float(turn)))
    root = to_camera @ roma.rotvec_to_rotmat(torch.stack((0 * yaw, yaw, 0 * yaw)))
    found = facing(root)
    assert turned_by(found, torch.tensor(float(turn))) < 0.1
    assert VIEWS[view_of(found)] == view


def test_whoever_lies_faces_nowhere():
    lying = roma.rotvec_to_rotmat(torch.tensor([torch.pi / 2, 0.0, 0.0]))
    assert torch.isnan(facing(lying)) and view_of(facing(lying)) == -1


def test_angles_are_compared_the_short_way_round():
    assert turned_by(torch.tensor(170.0), torch.tensor(-170.0)) == 20


def test_limb_losses_see_the_bend_and_the_side_it_is_on():
    right_angle, straight = bent(90.0), standing()
    bend, depth = limb_losses(right_angle, right_angle)
    assert bend == 0 and depth == 0
    bend, depth = limb_losses(straight, right_angle)
    assert torch.allclose(bend, torch.tensor(2**0.5 / 4))  # one of four hinges, chord sqrt 2
    assert torch.allclose(depth, torch.tensor(1 / 8))  # one of eight bones, wholly in depth
    bend, depth = limb_losses(bent(90.0, towards=-1.0), right_angle)
    assert torch.allclose(bend, torch.tensor(0.0), atol=1e-6)  # as bent, to the other side
    assert torch.allclose(depth, torch.tensor(2 / 8))


def test_limb_losses_have_gradients_where_limbs_are_straight():
    points = standing().requires_grad_()
    sum(limb_losses(points, bent(30.0))).backward()
    assert torch.isfinite(points.grad).all() and points.grad.abs().sum() > 0


def test_facing_loss_is_zero_to_two():
    here, back = torch.eye(3)[None], torch.diag(torch.tensor([-1.0, 1.0, -1.0]))[None]
    assert facing_loss(here, here) == 0 and facing_loss(here, back) == 2


def test_training_noise_without_extras_is_the_benchmarks(body):
    points = people(4)
    plain = bench.observe(points, random(3), NoiseModel())
    same = observe(points, random(3), NoiseModel())
    for name in ("xy", "conf", "space", "conf3d", "box"):
        assert torch.equal(getattr(plain, name), getattr(same, name))


def people(batch: int) -> torch.Tensor:
    """(B, W, 27, 3) still figures that differ."""
    generator = torch.Generator().manual_seed(1)
    spread = 0.05 * torch.randn(batch, 1, 27, 3, generator=generator)
    return (standing()[None] + spread).expand(batch, len(OFFSETS), 27, 3).contiguous()


def random(seed: int) -> Random:
    return Random(torch.tensor(OFFSETS), torch.Generator().manual_seed(seed))


EXACT = TrainingNoise(
    pixel=0, limb_offset=0, misplaced=0, definition=0, depth=0, flip=0, tilt=0, depth_scale=(1, 1),
    scale=(1, 1), space=0, hidden=0, blink=0, no_space=0, stranger=0, box=(1, 1), box_shift=0,
)  # fmt: skip


def test_limbs_that_are_gone_are_gone_in_every_frame_and_boxes_shrink():
    noise = TrainingNoise(**{**vars(EXACT), "gone": 1.0, "tight": 1.0})
    seen = observe(people(200), random(0), noise)
    missing = seen.conf == 0
    assert missing.any(-1).all() and (missing == missing[:, :1]).all()
    assert (seen.conf3d[missing] == 0).all()
    legs = BODY27.indices(f"{s}_{p}" for s in ("left", "right") for p in ("knee", "ankle"))
    legless = missing[:, 0][:, legs].all(-1)
    assert legless.any()
    whole = observe(people(200), random(0), EXACT)
    assert seen.box[legless, 0, 2].mean() < 0.9 * whole.box[legless, 0, 2].mean()
    inside = (seen.xy - seen.box[..., None, :2]).abs() <= seen.box[..., None, 2:] / 2 + 1e-4
    assert (inside.all(-1) | missing)[~missing.all(-1)].all()


def test_a_back_taken_for_a_front_has_its_sides_and_its_depth_exchanged():
    noise = TrainingNoise(**{**vars(EXACT), "exchanged": 1.0})
    seen, true = observe(people(50), random(0), noise), observe(people(50), random(0), EXACT)
    flip = list(BODY27.flip)
    turned = (seen.xy == true.xy[:, :, flip]).all(-1).all(-1)
    assert turned.any(1).float().mean() > 0.8
    expected = true.space[:, :, flip] * torch.tensor([1.0, 1.0, -1.0])
    assert torch.allclose(seen.space[turned], expected[turned], atol=1e-5)


def test_lower_legs_err_in_depth_alone_and_alike_in_all_frames():
    noise = TrainingNoise(**{**vars(EXACT), "shank": (0.2, 0.2), "toes": (-0.1, -0.1)})
    seen, true = observe(people(5), random(0), noise), observe(people(5), random(0), EXACT)
    off = seen.space - true.space
    ankle, toe = BODY27.indices(("left_ankle", "left_big_toe"))
    shank = (true.space[..., ankle, :] - true.space[..., KNEE[1], :]).norm(dim=-1)
    assert (off[..., :2] == 0).all()
    assert torch.allclose(off[..., ankle, 2], 0.2 * shank, atol=1e-5)
    assert torch.allclose(off[..., toe, 2], 0.2 * shank - 0.1, atol=1e-5)
    assert (off[..., BODY27.index("left_wrist"), :] == 0).all()


def test_flat_limbs_keep_their_length_and_lose_their_depth():
    points = bent(60.0)[None].expand(5, len(OFFSETS), 27, 3).contiguous()
    noise = TrainingNoise(**{**vars(EXACT), "flat": (0.5, 0.5)})
    seen, true = observe(points, random(0), noise), observe(points, random(0), EXACT)
    shank, as_it_is = (s.space[..., KNEE[2], :] - s.space[..., KNEE[1], :] for s in (seen, true))
    assert torch.allclose(shank.norm(dim=-1), as_it_is.norm(dim=-1), atol=1e-5)
    slope = shank[..., 2] / shank[..., 1], as_it_is[..., 2] / as_it_is[..., 1]
    assert torch.allclose(slope[0], 0.5 * slope[1], atol=1e-3)


def synthesizer(body, seed: int = 0) -> Synthesizer:
    pool = MotionPool.build([], seed=0, actions=("walk", "jump"), performances=2)
    return Synthesizer(pool, body, BROAD_VIEW, BROAD, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rate", [10.0, 24.0, 30.0, 60.0])
def test_windows_in_training_are_the_librarys_at_every_frame_rate(body, rate, monkeypatch):
    from tools.training import synthetic

    monkeypatch.setattr(synthetic, "_RATES", torch.tensor([rate]))
    maker = synthesizer(body)
    monkeypatch.setattr(maker.random, "chance", lambda p, *shape: torch.zeros(shape).bool())
    offsets, exists = maker._offsets(1)
    times = torch.arange(4 * int(rate)) / rate
    _, expected, present = window_index(times)
    middle = len(times) // 2
    assert torch.equal(exists[0], present[middle])
    assert torch.allclose(offsets[0][exists[0]], expected[middle][present[middle]], atol=1e-5)


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(body, tmp_path):
    def start() -> Training:
        torch.manual_seed(0)
        return Training(Lifter(SMALL), synthesizer(body), body, Recipe(4, batch=8))

    whole = start()
    while whole.done < 1:
        whole.advance()
    half = start()
    half.advance(), half.advance()
    half.save(tmp_path / "half.state")
    rest = start()
    rest.resume(tmp_path / "half.state")
    while rest.done < 1:
        rest.advance()
    assert rest.step == whole.step == 4
    for one, other in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_learning_rate_follows_steps_or_the_clock():
    assert Recipe(10).done(5, 1e9) == 0.5
    assert Recipe(10, minutes=2).done(5, 30) == 0.25
    assert Recipe(10, minutes=2).done(5, 1e9) == 1


def test_figures_find_the_errors_that_were_put_in(body):
    generator = torch.Generator().manual_seed(0)
    rotmats = roma.rotvec_to_rotmat(0.4 * torch.randn(60, 24, 3, generator=generator))
    to_camera = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotmats[:, 0] = to_camera @ roma.rotvec_to_rotmat(
        torch.linspace(-3, 3, 60)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    )
    local = body.landmarks(rotmats, torch.zeros(60, 10), BODY27)
    local = local - local[:, BODY27.indices(("left_hip", "right_hip"))].mean(1, keepdim=True)
    points = local + torch.tensor([0.0, 0.0, 40.0])  # far: the crop's axes are the camera's
    xy = points[..., :2] / points[..., 2:] * 4e4
    hidden = torch.zeros(60, 27, dtype=torch.bool)
    hidden[:30, KNEE] = True
    rows = {
        "points": points, "root": rotmats[:, 0], "space": 1.1 * local * torch.tensor([1, 1, 0.5]),
        "conf3d": torch.ones(60, 27), "conf": 1.0 * ~hidden, "true_xy": xy, "xy": xy,
        "hidden": hidden, "run": torch.arange(60) // 3, "missed": torch.tensor(4),
    }  # fmt: skip
    found = figures(rows)
    assert found["pictures"] == 60 and found["missed"] == 4
    assert abs(found["scale"]["median"] - 1.1) < 0.01
    turned_inside_out = rows | {"space": rows["space"] * torch.ones(60, 1, 1).index_fill(
        0, torch.tensor([7]), -1.0)}  # fmt: skip
    assert abs(figures(turned_inside_out)["scale"]["bias"] - 0.095) < 0.01
    assert found["bones"]["thigh"]["count"] == 90  # what the picture does not show is left out
    for bone in ("thigh", "forearm"):
        assert 0.45 < found["bones"][bone]["slope"] < 0.75  # bones get shorter, too
        assert found["bones"][bone]["wrong_sign"] == 0
    assert found["plane"]["median"] == 0
    assert found["hidden"] == {"shown_believed": 1, "hidden_believed": 0, "hidden_conf": 0}
