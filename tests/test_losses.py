import pytest
import torch

from semtta.keypoints import Keypoints2D
from semtta.skeletons import COCO17
from semtta.tta import losses
from semtta.tta.evidence import Evidence


def test_reprojection_counts_zeroed_joints_in_its_divisor_as_cycleadapt_does(golden):
    z = golden("pose2d/cycleadapt_losses.npz")
    arguments = (
        z["pred"].float(), z["target"].float(), z["valid"].float(),
        torch.ones(4, 1, 1), torch.ones(4),
    )  # fmt: skip
    assert float(losses.reprojection_loss(*arguments)) == pytest.approx(3.16184902, abs=1e-5)
    visible = losses.reprojection_loss(*arguments, reduction="visible")
    assert float(visible) == pytest.approx(4.76330487, abs=1e-5)


def test_a_frame_drawn_twice_counts_twice():
    predicted, target = torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    weight, scale = torch.ones(3, 5), torch.ones(3, 1, 1)
    twice = losses.reprojection_loss(predicted, target, weight, scale, torch.tensor([2.0, 1, 1]))
    rows = [0, 0, 1, 2]
    plain = losses.reprojection_loss(
        predicted[rows], target[rows], weight[rows], torch.ones(4, 1, 1), torch.ones(4)
    )
    assert torch.allclose(twice, plain)


def test_visible_joints_are_counted_by_their_weight_and_as_often_as_they_were_drawn():
    predicted, target = torch.randn(2, 3, 2), torch.randn(2, 3, 2)
    weight, count = torch.tensor([[1.0, 0.5, 0], [1, 1, 0]]), torch.tensor([3.0, 1.0])
    scale = torch.tensor([2.0, 0.5])[:, None, None]
    found = losses.reprojection_loss(predicted, target, weight, scale, count, "visible")
    error = (predicted - target).abs().sum(-1) * weight
    expected = (3 * 2 * error[0].sum() + 0.5 * error[1].sum()) / (2 * (3 * 1.5 + 2))
    assert torch.allclose(found, expected)
    nothing = losses.reprojection_loss(predicted, target, 0 * weight, scale, count, "visible")
    assert nothing == 0
    little = losses.reprojection_loss(predicted, target, 0.01 * weight, scale, count, "visible")
    assert torch.allclose(little, 0.01 * expected * 13)  # at least one number is divided by


@pytest.mark.parametrize("loss", ["pose", "shape", "landmarks"])
def test_losses_are_means_over_the_frames_as_often_as_they_were_drawn(loss):
    found, target, weight = torch.randn(3, 24, 3, 3), torch.randn(3, 24, 3, 3), torch.rand(3, 24)
    if loss == "pose":
        compute = losses.pose_smoothing_loss
        expected = ((found - target).abs().mean((2, 3)) * weight).mean()
    elif loss == "shape":
        found, target = torch.randn(3, 10), torch.randn(3, 10)

        def compute(found, target, _, count):
            return losses.shape_smoothing_loss(found, target, count)

        expected = (found - target).abs().mean()
    else:
        found, target = found[..., 0], target[..., 0]

        def compute(found, target, weight, count):
            return losses.landmark3d_loss(found, target, weight, [1, 2], count)

        hips = (found[:, 1] + found[:, 2])[:, None] / 2
        expected = ((found - hips - target).abs() * weight[..., None]).mean()
    assert torch.allclose(compute(found, target, weight, torch.ones(3)), expected)
    rows = [0, 0, 1, 2, 2, 2]
    counted = compute(found, target, weight, torch.tensor([2.0, 1, 3]))
    repeated = compute(found[rows], target[rows], weight[rows], torch.ones(6))
    assert torch.allclose(counted, repeated)


def test_alignment_pulls_to_one_or_stops_at_the_ceiling():
    similarity = torch.tensor([0.2, 0.9], requires_grad=True)
    assert torch.allclose(losses.alignment_loss(similarity), torch.tensor(0.45))
    losses.alignment_loss(similarity, torch.tensor([0.7, 0.7])).backward()
    assert similarity.grad[0] < 0 and similarity.grad[1] == 0


def evidence(count=6):
    conf = torch.rand(count, 17)
    conf[:, 3] = 0
    keypoints = Keypoints2D(torch.rand(count, 17, 2) * 100, conf, COCO17)
    known = torch.ones(17, dtype=torch.bool)
    known[4] = False
    return Evidence.from_keypoints(keypoints, known, 0.3)


def test_what_is_seen_with_enough_confidence_is_present_and_weighs_one():
    conf = torch.tensor([[0.0, 0.3, 0.29, 0.9, 0.9] + [0.0] * 12])
    keypoints = Keypoints2D(torch.rand(1, 17, 2), conf, COCO17)
    known = torch.arange(17) != 4
    for least, present in ((0.3, [1, 3]), (0.0, [1, 2, 3])):
        e = Evidence.from_keypoints(keypoints, known, least)
        assert e.present[0].nonzero()[:, 0].tolist() == present
        assert torch.equal(e.weight, e.present.float()) and torch.equal(e.detected, e.present)
        assert torch.equal(e.xy[0, present], keypoints.xy[0, present])
        assert not e.xy[~e.present].any() and not e.filled_in.any()
        assert e.raw is keypoints and e.filled_in.dtype == torch.long


def test_the_share_that_was_filled_is_of_the_known_joints_that_were_missing():
    e = evidence()
    missing = int((~e.present & e.known).sum())
    assert e.filled_share() == 0.0
    gate = torch.arange(6) < 2
    weight = torch.arange(6.0) + 1
    filled = e.fill(torch.rand(6, 17, 2), gate, 3, weight)
    assert 0 < filled < missing and e.filled_share() == pytest.approx(filled / missing)
    assert torch.equal(e.weight[:2, 3], weight[:2])
    there = e.cpu()
    for name in ("xy", "present", "weight", "filled_in", "known"):
        assert torch.equal(getattr(there, name), getattr(e, name)), name
    assert torch.equal(there.raw.xy, e.raw.xy) and torch.equal(there.raw.conf, e.raw.conf)
    all_seen = Keypoints2D(torch.rand(2, 17, 2), torch.ones(2, 17), COCO17)
    known = torch.ones(17, dtype=torch.bool)
    assert Evidence.from_keypoints(all_seen, known, 0.3).filled_share() == 0.0


def test_a_detection_off_by_the_scale_counts_half_and_by_three_times_a_tenth():
    e = evidence()
    side = torch.arange(6.0) * 10 + 100
    for times, weight in ((0, 1.0), (1, 0.5), (3, 0.1)):
        off = times * 0.05 * side[:, None, None] * torch.tensor([0.6, 0.8])
        e.doubt(e.raw.xy + off, side, 0.05)
        assert torch.allclose(e.weight[e.present], torch.tensor(weight), atol=1e-4)
        assert not e.weight[~e.present].any()


def test_average_moves_only_what_is_present():
    e = evidence()
    before, projected = e.xy.clone(), torch.rand(6, 17, 2) * 100
    e.average(projected, 0.9)
    assert torch.allclose(e.xy[e.present], (0.9 * before + 0.1 * projected)[e.present])
    assert torch.equal(e.xy[~e.present], before[~e.present])


def test_detections_can_be_spared_while_filled_joints_move():
    e = evidence()
    before = e.xy.clone()
    e.fill(torch.full((6, 17, 2), 10.0), torch.ones(6, dtype=torch.bool), 1, torch.ones(6))
    e.average(torch.full((6, 17, 2), 20.0), 0.9, detected=False)
    assert torch.equal(e.xy[e.detected], before[e.detected])
    assert torch.allclose(e.xy[e.filled_in > 0], torch.tensor(11.0))


def test_average_commutes_with_the_crops_affine_map():
    a, b, projected = evidence(), evidence(), torch.rand(6, 17, 2) * 100
    b.xy, b.present = a.xy * 2.5 + 7, a.present
    a.average(projected, 0.9)
    b.average(projected * 2.5 + 7, 0.9)
    assert torch.allclose((a.xy * 2.5 + 7)[a.present], b.xy[a.present], atol=1e-4)


def test_fill_touches_no_present_joint_and_invents_no_unknown_one():
    e = evidence()
    before, present = e.xy.clone(), e.present.clone()
    gate = torch.tensor([True, True, False, True, False, True])
    count = e.fill(torch.rand(6, 17, 2) * 100 - 500, gate, 2, torch.ones(6))
    assert torch.equal(e.xy[present], before[present])
    assert count == int((~present & e.known & gate[:, None]).sum()) > 0
    assert not e.present[:, 4].any() and not e.present[~gate, 3].any()
    assert e.present[gate, 3].all() and (e.filled_in[gate, 3] == 2).all()
    assert (e.xy[gate, 3] < 0).all()  # a filled joint may lie outside the image
    assert torch.equal(e.detected, present)


def test_filled_joints_are_averaged_with_the_prediction_or_with_what_fills_them():
    for completed, wanted in ((None, 11.0), (30.0, 12.0)):
        e = evidence()
        before = e.xy.clone()
        first, second = torch.full((6, 17, 2), 10.0), torch.full((6, 17, 2), 20.0)
        e.fill(first, torch.ones(6, dtype=torch.bool), 1, torch.ones(6))
        filling = None if completed is None else torch.full((6, 17, 2), completed)
        e.average(second, 0.9, filling)
        assert torch.allclose(e.xy[e.filled_in > 0], torch.tensor(wanted))
        assert torch.allclose(e.xy[e.detected], (0.9 * before + 2.0)[e.detected])


def test_of_a_detection_only_what_it_is_unsure_of_moves():
    e = evidence()
    before, projected = e.xy.clone(), torch.rand(6, 17, 2) * 100
    e.raw.conf[0], e.raw.conf[1], e.raw.conf[2] = 1.0, 0.5, 2.0  # a detector may say more than 1
    e.average(projected, 0.8, by_confidence=True)
    here = e.present[..., None].expand_as(before).clone()
    for frame, kept in ((0, 1.0), (1, 0.9), (2, 1.0)):
        wanted = torch.where(here, kept * before + (1 - kept) * projected, before)
        assert torch.allclose(e.xy[frame], wanted[frame], atol=1e-4)
    assert torch.equal(e.xy[0], before[0])


def test_the_raw_detections_are_kept():
    e = evidence()
    raw = e.raw.xy.clone()
    e.average(torch.zeros(6, 17, 2), 0.0)
    assert torch.equal(e.raw.xy, raw)
