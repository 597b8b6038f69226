"""Heat maps, metrics and losses of 2D pose against the peers' own functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from semtta.errors import SemttaError
from semtta.geometry import to_image
from semtta.pose2d.adversary import reverse_gradient, warm_up
from semtta.pose2d.heatmaps import cells_to_pixels, decode, encode
from semtta.pose2d.layouts import inside_square
from semtta.pose2d.losses import kl_divergence, pseudo_maps, squared_error
from semtta.pose2d.metrics import (
    Pck,
    aggregate_regda,
    aggregate_uniframe,
    batch_accuracy,
    cell_distances,
    legacy_pck,
    pck,
)
from semtta.pose2d.skeletons import BODY16, HAND21, grouped_skeleton

GOLDEN = Path(__file__).parent / "golden/pose2d"


def load(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return {key: torch.from_numpy(np.asarray(value, np.float32 if value.dtype == np.float16 else
                                             value.dtype))
            for key, value in arrays.items() if value.dtype.kind != "U"}  # fmt: skip


# -------------------------------------------------------------------------- heat maps


@pytest.mark.parametrize(
    ("joints", "target", "weight", "image", "cells"),
    [("joints", "target", "weight", (256, 256), (64, 64)),
     ("joints_192x256", "target_48x64", "weight_48x64", (192, 256), (48, 64))],
)  # fmt: skip
def test_targets_are_the_peers(joints, target, weight, image, cells):
    d = load("heatmap_target")
    maps, seen = encode(d[joints].float(), d["visible"][..., 0], image, cells)
    assert (maps - d[target]).abs().max() < 2e-4  # stored as float16
    assert torch.equal(seen, d[weight][..., 0])
    assert 0 < seen.mean() < 1


def test_decoding_is_the_peers():
    d = load("decode")
    for refine, wanted in (("none", "argmax"), ("quarter", "quarter")):
        cells, top = decode(d["output"], refine)
        assert torch.equal(cells, d[wanted])
        assert torch.equal(top, d["maxval"][..., 0])
    assert torch.equal((top > 0.5).double(), d["valid_gt_half"])
    square = torch.cat((d["center"], 200 * d["scale"][:, :1]), 1).float()
    assert (to_image(cells, square, 64) - d["final_preds"]).abs().max() < 1e-3


def test_subpixel_maps_keep_what_cells_round_away():
    xy = 20 + 216 * torch.rand(30, 16, 2)
    for subpixel, error in ((True, 1e-3), (False, 2.01)):
        maps, _ = encode(xy, torch.ones(30, 16), (256, 256), (64, 64), subpixel=subpixel)
        found = cells_to_pixels(decode(maps, "subpixel")[0], (256, 256), (64, 64))
        assert (found - xy).abs().max() < error
    assert (found - xy).abs().max() > 1.9  # cells are 4 pixels wide


def test_maps_of_joints_that_are_nowhere():
    xy = torch.tensor([[[torch.nan, 3], [-40, 5], [1e9, 5], [8, 8]]])
    maps, weight = encode(xy, torch.tensor([[1.0, 1, 1, 0]]), (64, 64), (16, 16))
    assert not weight.any() and not maps.any() and torch.isfinite(maps).all()
    cells, top = decode(-torch.ones(1, 2, 8, 8), "quarter")
    assert not cells.any() and (top == -1).all()
    nothing = -torch.ones(1, 8, 8)
    nothing[0, 5, 3] = 0.0  # the highest, and not positive
    for refine in ("none", "quarter", "subpixel"):
        cells, top = decode(nothing, refine)
        assert cells.tolist() == [[0, 0]] and top == 0
    with pytest.raises(ValueError, match="refine"):
        decode(torch.ones(1, 2, 8, 8), "half")


def test_a_joint_is_labelled_where_its_cell_lies_on_the_map():
    width, height = 6, 4  # cells of 10 pixels, each from half a cell before it to half after
    inside = [[0.0, 0], [-14.9, 0], [54.9, 34.9], [0, -14.9]]
    outside = [[-15.1, 0], [55.1, 0], [0, -15.1], [0, 35.1], [torch.inf, 0], [0, torch.nan]]
    xy = torch.tensor(inside + outside)
    maps, weight = encode(xy, torch.full((10,), 0.5), (60, 40), (width, height))
    assert weight.tolist() == [0.5] * 4 + [0.0] * 6
    assert maps.shape == (10, height, width) and not maps[4:].any()
    cells, top = decode(maps[:4])
    assert cells.tolist() == [[0, 0], [0, 0], [5, 3], [0, 0]]
    assert top.tolist()[0] == 1 and top.tolist()[2] == 1
    assert cells_to_pixels(torch.tensor([5.0, 3.0]), (60, 80), (6, 4)).tolist() == [50, 60]


def test_a_quarter_is_added_where_both_neighbours_lie_far_enough_from_the_border():
    width, height = 7, 6
    for x in range(width):
        for y in range(height):
            maps = torch.zeros(1, height, width)
            maps[0, y : y + 2, x : x + 2] = 0.5
            maps[0, y, x] = 1.0
            inner = 2 <= x <= width - 2 and 2 <= y <= height - 2
            cells, top = decode(maps, "quarter")
            assert cells[0].tolist() == [x + 0.25 * inner, y + 0.25 * inner] and top == 1


def test_the_peak_between_cells_that_hold_nothing_or_the_same():
    maps = torch.zeros(2, 6, 7)
    maps[:, 3, 3], maps[0, 3, 4] = 1.0, 0.5
    maps[1, 3, 2:5] = 1.0  # a plateau: its first cell has one neighbour as high as itself
    cells, _ = decode(maps, "subpixel")
    empty, half = torch.tensor([1e-6, 0.5]).double().log().tolist()
    assert cells[0].tolist() == pytest.approx([3 + 0.5 * (half - empty) / (-half - empty), 3])
    assert cells[1].tolist() == pytest.approx([2.5, 3])
    faint = decode(1e-8 * maps, "subpixel")[0]  # too faint to tell
    assert faint.tolist() == [[3, 3], [2, 3]]


@pytest.mark.parametrize(
    ("function", "shapes"),
    [(lambda x, v: encode(x, v, (8, 6), (8, 6))[0], [(3, 2), (3,)]),
     (lambda maps: decode(maps, "quarter")[0], [(3, 6, 7)]),
     (lambda maps: decode(maps, "subpixel")[0], [(3, 6, 7)])],
)  # fmt: skip
def test_any_number_of_axes_may_stand_before(function, shapes):
    arguments = [torch.rand(2, 5, *shape) * 5 for shape in shapes]
    found = function(*arguments)
    for i, j in ((0, 0), (1, 3)):
        assert torch.equal(found[i, j], function(*(a[i, j] for a in arguments)))


# ---------------------------------------------------------------------------- metrics


def test_accuracy_is_the_peers_at_every_threshold():
    d = load("pck")
    output, target = d["output"], d["target"]
    cells, top = decode(output)
    assert torch.equal(cells, d["pred"]) and torch.equal(top, d["pred_max"][..., 0])
    assert torch.equal(decode(target)[0], d["gt"])
    assert torch.equal(cell_distances(output, target).T, d["dists"])
    for a in (0.01, 0.02, 0.05, 0.1, 0.2):
        assert (batch_accuracy(output, target, a) - d[f"acc_pck{a}"]).abs().max() < 1e-6
    seen = d["acc"] >= 0
    assert float(batch_accuracy(output, target)[seen].mean()) == pytest.approx(float(d["avg"]))


def test_both_legacy_aggregations():
    d = load("pck")
    batches = torch.stack(
        [batch_accuracy(d["output"][part], d["target"][part]) for part in (slice(3), slice(3, 6))]
    )
    assert (batches - d["per_batch_acc"]).abs().max() < 1e-6
    counts = torch.tensor([3, 3])
    # golden order: head, shoulder, elbow, wrist, hip, knee, ankle, all
    for aggregate, wanted in ((aggregate_regda, d["group_regda"]),
                              (aggregate_uniframe, d["group_uniframe"])):  # fmt: skip
        groups = aggregate(batches, counts, BODY16)
        assert torch.allclose(torch.tensor(list(groups.values())).double() / 100, wanted[1:],
                              atol=1e-6)  # fmt: skip
    assert legacy_pck(batches, counts, BODY16, "regda").groups["All"] == pytest.approx(
        51.389, abs=1e-3
    )
    assert legacy_pck(batches, counts, BODY16, "uniframe").groups["All"] == pytest.approx(
        68.056, abs=1e-3
    )
    with pytest.raises(SemttaError, match="aggregation"):
        legacy_pck(batches, counts, BODY16, "mean")


def test_peers_weigh_a_batch_by_its_images():
    batches = torch.stack((torch.full((16,), 0.5), torch.ones(16)))
    hips = BODY16.indices(["left_hip", "right_hip"])
    batches[1, hips] = -1  # not labelled in the last batch
    counts = torch.tensor([32, 16])
    peer = legacy_pck(batches, counts, BODY16, "regda").groups
    assert peer["Knee"] == pytest.approx(200 / 3) and peer["Hip"] == pytest.approx(0, abs=1e-4)
    peer = legacy_pck(batches, counts, BODY16, "uniframe").groups
    assert peer["Knee"] == pytest.approx(200 / 3) and peer["Hip"] == pytest.approx(50)


def test_ours_counts_joints_over_the_set():
    truth = torch.full((4, 16, 2), 50.0)
    found = truth.clone()
    elbow = BODY16.index("left_elbow")
    found[:, elbow, 0] += torch.tensor([0, 4.9, 5.1, 90])
    labelled = torch.ones(4, 16)
    labelled[:, BODY16.indices(["left_hip", "right_hip"])] = 0
    labelled[3, elbow] = 0
    result = pck(found, truth, labelled, 100, BODY16)
    assert result.groups["Elb"] == pytest.approx((100 + 200 / 3) / 2)
    assert result.groups["Hip"] is None and result.groups["Sld"] == 100
    assert result.groups["All"] == pytest.approx((9 * 100 + 200 / 3) / 10)
    assert result.labelled == 4 * 14 - 1
    assert (result.threshold, result.aggregation) == (0.05, "joints")
    assert float(result.joints[elbow]) == pytest.approx(200 / 3)
    hips = BODY16.indices(["left_hip", "right_hip"])
    assert result.joints.isnan().nonzero()[:, 0].tolist() == sorted(hips)
    assert pck(found, truth, labelled, 100, BODY16, 0.95).groups["Elb"] == 100
    for wrong in ((found[:, :5], truth[:, :5]), (found, truth[:1])):
        with pytest.raises(SemttaError, match="skeleton"):
            pck(*wrong, labelled[:, : wrong[0].shape[1]], 100, BODY16)


def test_exactly_at_the_threshold_is_a_miss():
    truth, found = torch.zeros(1, 16, 2), torch.zeros(1, 16, 2)
    found[0, 0, 0], found[0, 5, 1] = 16.0, 15.9
    joints = pck(found, truth, torch.ones(1, 16), 64, BODY16, 0.25).joints
    assert joints[0] == 0 and joints[1:].eq(100).all()


def test_the_peers_distances_are_in_tenths_of_a_map_of_cells_beyond_its_border():
    def peak(x, y):
        maps = torch.zeros(20, 30)
        maps[y, x] = 1.0
        return maps

    pairs = [((4, 5), (4, 5)), ((7, 5), (4, 5)), ((4, 8), (4, 5)), ((4, 5), (2, 2)),
             ((4, 5), (1, 5)), ((4, 5), (5, 1)), ((1, 0), (5, 5))]  # fmt: skip
    output, target = (torch.stack([peak(*p) for p in side])[None] for side in zip(*pairs))
    # of 20 rows a tenth is 2 (they divide x by it), of 30 columns 3
    expected = [0, 3 / 2, 3 / 3, 2**0.5, -1, -1, (4 + 25 / 9) ** 0.5]
    found = cell_distances(output, target)
    assert found[0].tolist() == pytest.approx(expected)


def test_what_no_batch_shows_is_nothing_to_the_joints_and_zero_to_uniframe():
    batches = torch.full((2, 16), 0.5)
    batches[1] = 1.0
    elbow, other = BODY16.index("left_elbow"), BODY16.index("right_elbow")
    batches[:, elbow] = -1
    batches[:, 0] = 0.0  # shown, and never hit
    counts = torch.tensor([1, 3])
    result = legacy_pck(batches, counts, BODY16, "uniframe")
    assert isinstance(result, Pck)
    assert (result.threshold, result.aggregation, result.labelled) == (0.05, "uniframe", 30)
    assert result.groups["Elb"] == pytest.approx(100 * (0.5 + 3) / 4 / 2)
    assert result.joints[0] == 0 and result.joints[elbow].isnan()
    assert float(result.joints[other]) == 75  # batches alike
    assert legacy_pck(batches, counts, BODY16, "regda", 0.2).threshold == 0.2


def test_all_is_the_mean_of_the_groups_for_bodies_but_not_for_hands():
    found = torch.zeros(2, 21, 2)
    found[:, HAND21.index("wrist")] = 99
    result = pck(found, torch.zeros(2, 21, 2), torch.ones(2, 21), 100, HAND21)
    groups = [result.groups[h] for h in ("MCP", "PIP", "DIP", "Fin")]
    assert groups == [100] * 4 and result.groups["All"] == pytest.approx(100 * 20 / 21)


# ---------------------------------------------------------------------- losses, boxes


def test_losses_are_the_peers():
    d, maps = load("losses"), load("pck")
    output, target, weight = maps["output"], maps["target"], d["weight"][..., 0]
    mean = squared_error(output, target, weight, "mean")
    assert float(mean) == pytest.approx(float(d["mse"]), rel=1e-4)
    every = torch.ones_like(weight)
    assert float(squared_error(output, target, every, "mean")) == pytest.approx(
        float(d["mse_unweighted"]), rel=1e-4
    )
    assert float(kl_divergence(output, target, weight)) == pytest.approx(float(d["kl"]), rel=1e-4)
    # Eq. 8: over K H W, not their mean
    assert float(squared_error(output, target, weight)) == pytest.approx(
        float(mean) * 2 * 16 * 64 * 64, rel=1e-4
    )
    true, false = pseudo_maps(output)
    assert (true - d["regda_true"]).abs().max() < 2e-3
    assert (false - d["regda_false"]).abs().max() < 2e-3


def test_the_sum_starts_at_four_pi_a_joint_whatever_the_map():
    for size in (32, 64):
        maps, weight = encode(torch.full((2, 16, 2), 64.0), torch.ones(2, 16), (128, 128),
                              (size, size))  # fmt: skip
        loss = squared_error(torch.zeros_like(maps), maps, weight)
        assert float(loss) / 16 == pytest.approx(4 * torch.pi, rel=0.01)


def test_false_maps_are_what_others_hold_cut_at_one_whatever_the_maps_shape():
    maps = torch.full((1, 4, 5, 9), -1.0)
    for joint, (x, y) in enumerate([(7, 1), (7, 1), (2, 4), (2, 3)]):
        maps[0, joint, y, x] = -0.5  # the highest, also of a map that is nowhere positive
    true, false = pseudo_maps(maps)
    assert decode(true)[0].tolist() == [[[7, 1], [7, 1], [2, 4], [2, 3]]]
    assert true[0, 2, 4, 4] == pytest.approx(float(torch.tensor(-0.5).exp()))  # two cells of two
    others = true.sum(1, keepdim=True) - true
    assert others.max() > 1.5 and torch.equal(false, others.clamp_max(1))
    assert false[0, 2, 1, 7] == 1


def test_boxes_are_the_peers():
    with np.load(GOLDEN / "boxes.npz") as d:
        for key, size in (("scaled_320", (320, 320)), ("scaled_640x480", (640, 480))):
            ours = [inside_square(box, float(d["scale"]), *size) for box in d["boxes"]]
            assert np.array_equal(ours, d[key])


def test_gradient_reversal_warms_up_as_the_peers():
    d = load("grl")
    for step, wanted in zip(d["iters"].tolist(), d["coeff"].tolist()):
        x = torch.ones(3, requires_grad=True)
        y = reverse_gradient(x, warm_up(step, 1000))
        assert torch.equal(y, x)
        y.sum().backward()
        assert -float(x.grad[0]) == pytest.approx(wanted, abs=1e-6)


# --------------------------------------------------------------------------- skeletons


def test_graphs_are_connected_and_normalised():
    for skeleton in (BODY16, HAND21):
        a = skeleton.adjacency()
        assert torch.equal(a, a.T) and len(skeleton.edges) == len(skeleton) - 1
        assert torch.linalg.matrix_power((a > 0).float(), len(skeleton)).min() > 0
        assert float(torch.linalg.eigvalsh(a).max()) == pytest.approx(1, abs=1e-5)
    flip = BODY16.flip
    assert [flip[i] for i in (0, 1, 2, 10, 11, 12)] == [5, 4, 3, 15, 14, 13] and flip[6] == 6
    with pytest.raises(SemttaError, match="hand21"):
        grouped_skeleton("foot")
