import math

import pytest
import roma
import torch

from semtta.bench.metrics import acceleration_errors, aligned_joint_errors, joint_errors
from semtta.errors import SemttaError
from semtta.geometry import (
    Camera,
    check_camera,
    chordal_mean,
    columns_to_rotmat,
    crop_affine,
    crop_translation,
    full_translation,
    gaussian_smooth,
    geodesic_degrees,
    image_camera,
    keypoint_boxes,
    mirror_pose,
    nearest_rotation,
    nearest_rotvecs,
    procrustes_align,
    project,
    ray_rotation,
    root_align,
    rotmat_to_columns,
    square_boxes,
    to_crop,
    to_image,
)
from semtta.geometry.boxes import box_overlap


def random_rotmats(*shape):
    return roma.random_rotmat(shape)


def test_six_numbers_match_the_column_layouts_of_the_official_code(golden):
    z = golden("pose2d/rot6d.npz")
    ours = rotmat_to_columns(z["rotmat"])
    # SPIN stores the same two columns interleaved, MotionCLIP stores rows.
    spin = z["d6_columns_spin"].view(-1, 3, 2)
    assert torch.allclose(ours, torch.cat((spin[..., 0], spin[..., 1]), -1), atol=1e-6)
    noisy = z["noisy6"].view(-1, 3, 2)
    decoded = columns_to_rotmat(torch.cat((noisy[..., 0], noisy[..., 1]), -1))
    assert torch.allclose(decoded, z["noisy_to_mat_spin"], atol=1e-5)


def test_axis_angle_matches_the_official_code(golden):
    z = golden("functions/rotations.npz")
    ours = roma.rotvec_to_rotmat(z["aa"].double()).float()
    assert torch.allclose(ours, z["spin_batch_rodrigues"], atol=1e-5)
    assert torch.allclose(ours, z["motionclip_axis_angle_to_matrix"], atol=1e-5)


def test_camera_matches_the_official_code(golden):
    z = golden("functions/camera.npz")
    trans = crop_translation(z["cam"], 224)
    assert torch.allclose(trans, z["trans"], rtol=1e-6)
    center = torch.full((2,), 112.0)
    ours = project(z["pts"] + trans[:, None], 5000.0, center)
    assert torch.allclose(ours, z["cycleadapt_joint_proj"], rtol=1e-5, atol=1e-3)
    ours = project(z["pts"] + trans[:, None], 5000.0, torch.zeros(2), eps=0.0)
    assert torch.allclose(ours, z["spin_perspective_projection"], rtol=1e-5, atol=1e-3)


def test_boxes_and_crops_match_the_official_code(golden):
    z = golden("functions/camera.npz")
    xywh = z["bbox"].float()
    boxes = square_boxes(torch.cat((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), -1))
    official = z["cycleadapt_process_bbox_1"].float()
    assert torch.allclose(boxes[:, :2] - boxes[:, 2:] / 2, official[:, :2], atol=1e-4)
    assert torch.allclose(boxes[:, 2], official[:, 2], atol=1e-4)
    affine = torch.stack([crop_affine(box, 224) for box in boxes])
    assert torch.allclose(affine, z["cycleadapt_affine"].float(), atol=1e-3)
    uv = z["uv"].float()
    assert torch.allclose(to_crop(uv, boxes, 224), z["uv_crop"].float(), atol=1e-2)


def test_metrics_match_the_official_code(golden):
    z = golden("functions/metrics.npz")
    fourteen = [1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16]
    predicted, truth = z["pred17"].double() / 1000, z["gt17"].double() / 1000
    root = predicted[:, :1], truth[:, :1]
    predicted, truth = predicted - root[0], truth - root[1]
    plain = 1000 * (predicted - truth)[:, fourteen].norm(dim=-1)
    assert torch.allclose(plain.mean(1), z["cycleadapt_mpjpe"].double(), atol=1e-6)
    aligned = aligned_joint_errors(predicted[:, fourteen], truth[:, fourteen])
    # Frame 3 is mirrored: the reflection must not be allowed to fit.
    assert torch.allclose(aligned.mean(1), z["cycleadapt_pa_mpjpe"].double(), atol=1e-6)


def test_errors_are_blind_to_what_alignment_removes():
    truth = torch.randn(5, 12, 3)
    shifted = truth + torch.tensor([1.0, -2.0, 3.0])
    assert joint_errors(shifted, truth, [6, 7]).max() < 1e-2
    assert acceleration_errors(shifted, truth, [6, 7]).max() < 1e-2
    turned = 1.7 * truth @ random_rotmats().T + 0.3
    assert aligned_joint_errors(turned, truth).max() < 1e-2
    assert joint_errors(turned, truth, [6, 7]).mean() > 100


def test_procrustes_never_mirrors():
    truth = torch.randn(4, 12, 3)
    mirrored = truth * torch.tensor([-1.0, 1.0, 1.0])
    assert (procrustes_align(mirrored, truth) - truth).norm(dim=-1).mean() > 0.1


def test_full_camera_places_the_person_where_the_crop_showed_it():
    camera = Camera(1500.0, (640.0, 360.0))
    boxes = torch.tensor([[400.0, 300.0, 350.0], [900.0, 500.0, 200.0]])
    cam = torch.tensor([[0.8, 0.05, -0.1], [1.1, -0.2, 0.15]])
    trans = full_translation(cam, boxes, camera)
    pixels = project(trans[:, None], camera.focal, torch.tensor(camera.center), eps=0.0)[:, 0]
    expected = boxes[:, :2] + cam[:, 1:] * cam[:, :1] * boxes[:, 2:] / 2
    assert torch.allclose(pixels, expected, atol=1e-2)
    # One metre across the person spans s/2 of the crop.
    span = camera.focal / trans[:, 2]
    assert torch.allclose(span, cam[:, 0] * boxes[:, 2] / 2, rtol=1e-4)


def test_crop_and_image_are_inverse():
    boxes = torch.tensor([[100.0, 80.0, 60.0], [10.0, 20.0, 300.0]])
    xy = torch.randn(2, 7, 2) * 100
    assert torch.allclose(to_image(to_crop(xy, boxes, 224), boxes, 224), xy, atol=1e-3)


def test_mirroring_twice_changes_nothing_and_swaps_sides():
    pose = random_rotmats(3, 24)
    assert torch.allclose(mirror_pose(mirror_pose(pose)), pose)
    assert not torch.allclose(mirror_pose(pose), pose)
    assert torch.allclose(torch.linalg.det(mirror_pose(pose)), torch.ones(3, 24), atol=1e-5)


def test_the_nearest_rotation_is_romas():
    near, far = random_rotmats(40, 3), random_rotmats(40, 3)
    for matrices in (near + 0.1 * torch.randn(40, 3, 3, 3), (near + far) / 2, -near,
                     torch.randn(40, 3, 3, 3), 1e-3 * near, near[:0]):  # fmt: skip
        found, wanted = nearest_rotation(matrices), roma.special_procrustes(matrices)
        fit, best = ((r * matrices).sum((-2, -1)) for r in (found, wanted))  # -near has many
        assert torch.allclose(fit, best, atol=1e-5)
        assert torch.allclose(torch.linalg.det(found), torch.ones(found.shape[:2]), atol=1e-5)
    smoothed = (near + near @ roma.rotvec_to_rotmat(0.5 * torch.randn(40, 3, 3))) / 2
    assert (nearest_rotation(smoothed) - roma.special_procrustes(smoothed)).abs().max() < 1e-6


def test_the_nearest_rotation_has_romas_gradient():
    matrices = random_rotmats(6) + 0.1 * torch.randn(6, 3, 3)
    gradients = [torch.autograd.functional.jacobian(f, matrices)
                 for f in (nearest_rotation, roma.special_procrustes)]  # fmt: skip
    assert torch.equal(*gradients) and gradients[0].abs().sum() > 0


@pytest.mark.parametrize("irregular", [False, True])
def test_gaussian_keeps_a_constant_and_removes_jitter(irregular):
    times = torch.arange(40) / 30.0
    if irregular:
        times = times + 0.4 / 30 * torch.rand(40)
    still = random_rotmats(1, 24).expand(40, -1, -1, -1)
    assert torch.allclose(gaussian_smooth(still, times, 0.1), still, atol=1e-4)
    noise = roma.rotvec_to_rotmat(0.2 * torch.randn(40, 24, 3))
    noisy = still @ noise
    smooth = gaussian_smooth(noisy, times, 0.1)
    assert (smooth - still).abs().mean() < 0.5 * (noisy - still).abs().mean()
    assert (smooth.diff(dim=0)).abs().mean() < 0.3 * noisy.diff(dim=0).abs().mean()


@pytest.mark.parametrize("sigma", [0.3, 4.0])
def test_gaussian_is_the_same_in_pieces(sigma):
    """Long tracks are smoothed piece by piece; nothing is lost at the seams."""
    times = torch.cat((torch.arange(300) / 30.0, 11 + torch.arange(250) / 25.0))
    poses, weights = random_rotmats(550, 2), torch.rand(550, 2)
    kernel = torch.exp(-0.5 * ((times[:, None] - times) / sigma) ** 2)
    whole = chordal_mean(poses, kernel[..., None] * weights)
    assert torch.allclose(gaussian_smooth(poses, times, sigma, weights), whole, atol=1e-4)


def test_gaussian_does_not_listen_to_rotations_without_weight():
    times = torch.arange(20) / 30.0
    pose = random_rotmats(1, 2).expand(20, -1, -1, -1).clone()
    weights = torch.ones(20, 2)
    spoiled = pose.clone()
    spoiled[10, 0] = random_rotmats()
    weights[10, 0] = 0
    assert torch.allclose(gaussian_smooth(spoiled, times, 0.1, weights), pose, atol=1e-3)


def test_boxes_around_keypoints_hold_them_and_fill_empty_frames():
    xy = torch.rand(5, 6, 2) * 100
    conf = torch.ones(5, 6)
    conf[2] = 0
    boxes = keypoint_boxes(xy, conf)
    assert torch.isfinite(boxes).all()
    inside = (xy >= boxes[:, None, :2]) & (xy <= boxes[:, None, 2:])
    assert inside[[0, 1, 3, 4]].all()
    assert torch.equal(boxes[2], boxes[1])


def test_a_box_is_the_extent_of_the_present_joints_and_a_fifth_more():
    xy = torch.tensor([[[10.0, 20], [30, 50], [500, 500]]])
    conf = torch.tensor([[1.0, 0.1, 0.0]])
    assert torch.allclose(keypoint_boxes(xy, conf), torch.tensor([[8.0, 17, 32, 53]]))
    assert torch.allclose(keypoint_boxes(xy, conf, margin=1.0), torch.tensor([[10.0, 20, 30, 50]]))
    xy[0, 1] = torch.tensor([10.0, 50])  # seen edge-on: two pixels at least
    assert torch.allclose(keypoint_boxes(xy, conf, margin=1.0), torch.tensor([[9.0, 20, 11, 50]]))


def test_one_joint_makes_no_box_and_two_do():
    xy = torch.arange(24.0).view(4, 3, 2)
    conf = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 0], [0, 1, 1]])
    boxes = keypoint_boxes(xy, conf)
    assert torch.equal(boxes[1], boxes[0]) and torch.equal(boxes[2], boxes[3])
    assert not torch.equal(boxes[0], boxes[3])
    with pytest.raises(ValueError, match="no frame has two keypoints"):
        keypoint_boxes(xy[1:3], conf[1:3])


@pytest.mark.parametrize("size", [(640, 480), (480, 640)])
def test_the_limits_of_a_camera_are_shares_of_the_longer_side(size):
    middle = (size[0] / 2, size[1] / 2)
    for focal, fits in ((32, True), (31.9, False), (128_000, True), (128_001, False)):
        camera = Camera(focal, middle)
        if fits:
            assert check_camera(camera, *size) is camera
            continue
        with pytest.raises(SemttaError, match=f"focal={focal} pixels"):
            check_camera(camera, *size)
    for axis in (0, 1):
        for sign in (-1, 1):
            center = list(middle)
            center[axis] += sign * 3200
            check_camera(Camera(500.0, tuple(center)), *size)
            center[axis] += sign
            with pytest.raises(SemttaError, match="far outside the picture"):
                check_camera(Camera(500.0, tuple(center)), *size)


def test_what_is_known_of_a_camera_is_kept_and_the_rest_guessed():
    assert image_camera(640, 480) == Camera(800.0, (319.5, 239.5))
    assert image_camera(640, 480, focal=700) == Camera(700, (319.5, 239.5))
    assert image_camera(640, 480, center=[300, 200]) == Camera(800.0, (300, 200))


def test_the_intrinsic_matrix_projects_as_the_camera_does():
    camera = Camera(700.0, (310.0, 250.0))
    points = torch.tensor([[0.3, -0.2, 2.0], [-1.0, 0.5, 4.0]])
    ray = points @ camera.matrix().T
    pixels = project(points, camera.focal, torch.tensor(camera.center), eps=0.0)
    assert torch.allclose(ray[:, :2] / ray[:, 2:], pixels)


def test_what_is_behind_the_camera_is_shown_a_centimetre_before_it():
    points = torch.tensor([[0.001, -0.002, -3.0], [0.001, -0.002, 0.0199]], dtype=torch.float64)
    shown = project(points, 1000.1, torch.tensor([320.0, 240.0]).double())
    offset = torch.tensor([[100.01, -200.02], [50.005, -100.01]]).double()
    assert torch.allclose(shown - torch.tensor([320.0, 240.0]), offset, atol=1e-4, rtol=0)
    assert abs(float(shown[0, 0]) - 420.01) < 1e-9  # the focal length is as exact as the points


def test_a_person_without_size_is_far_away_and_not_nowhere():
    camera = Camera(1000.0, (320.0, 240.0))
    nothing = torch.tensor([[0.0, 0.1, 0.2], [-1.0, 0.1, 0.2]])
    boxes = torch.tensor([[320.0, 240.0, 100.0]]).expand(2, 3)
    expected = torch.tensor([[0.1, 0.2, 2e9]]).expand(2, 3)
    assert torch.allclose(full_translation(nothing, boxes, camera), expected)
    depth = crop_translation(nothing[:1], 224)[0, 2]
    assert float(depth) == pytest.approx(1e13, rel=1e-5)


def rotated(angle):
    return roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, angle]))


def test_the_angle_between_rotations_is_in_degrees():
    assert float(geodesic_degrees(rotated(0.2), rotated(0.2 + math.pi / 6))) == pytest.approx(30)


def test_the_mean_rotation_is_that_of_the_weighted_matrices():
    poses = torch.stack((rotated(0.0), rotated(math.pi / 2)))[:, None]  # two frames, one joint
    weights = torch.tensor([[1.0, 1.0], [3.0, 1.0], [0.0, 2.0]])
    expected = [math.pi / 4, math.atan(1 / 3), math.pi / 2]
    for each_joint in (weights, weights[..., None]):
        found = chordal_mean(poses, each_joint)[:, 0]
        assert torch.allclose(found, torch.stack([rotated(a) for a in expected]), atol=1e-6)


def test_rotation_vectors_pass_through_no_rotation_and_small_ones_stay_what_they_are():
    turn = 2 * math.pi
    axis = torch.tensor([0.6, 0.0, 0.8])
    through = torch.tensor([turn - 0.1, 0.0, 0.1])[:, None] * axis
    expected = torch.tensor([turn - 0.1, turn, turn + 0.1])[:, None] * axis
    assert torch.allclose(nearest_rotvecs(through), expected, atol=1e-5)
    other = torch.tensor([[0.0, turn - 0.1, 0.0], [0.5, 0.0, 0.0]])
    assert torch.allclose(nearest_rotvecs(other), other)


def test_boxes_are_made_where_the_keypoints_are_whatever_the_default_device():
    xy, conf = torch.rand(3, 4, 2), torch.ones(3, 4)
    expected = keypoint_boxes(xy, conf)
    with torch.device("meta"):
        assert torch.equal(keypoint_boxes(xy, conf), expected)


@pytest.mark.parametrize(
    ("function", "shapes"),
    [(square_boxes, [(4,)]), (box_overlap, [(4,), (4,)]), (ray_rotation, [(2,)]),
     (lambda x, c: project(x, 2.0, c), [(7, 3), (2,)]), (lambda c: crop_translation(c, 9), [(3,)]),
     (lambda c, b: full_translation(c, b, Camera(9.0, (1.0, 2.0))), [(3,), (3,)]),
     (lambda x: root_align(x, [1, 2]), [(7, 3)]), (procrustes_align, [(7, 3), (7, 3)]),
     (columns_to_rotmat, [(6,)]), (rotmat_to_columns, [(3, 3)]), (mirror_pose, [(24, 3, 3)])],
)  # fmt: skip
def test_any_number_of_axes_may_stand_before(function, shapes):
    arguments = [torch.rand(2, 5, *shape) for shape in shapes]
    found = function(*arguments)
    for i, j in ((0, 0), (1, 3)):
        alone = function(*(argument[i, j] for argument in arguments))
        assert torch.allclose(found[i, j], alone, atol=1e-5)
