"""Where a prediction lands in the picture, and how a run asks the model."""

from types import SimpleNamespace

import torch
from test_adapter import CAMERA, adapter, begin, walker

from semtta.body import load_body
from semtta.engine import silent
from semtta.geometry import full_translation
from semtta.hmr.base import Batch, CropSpec, Prediction
from semtta.hmr.images import ImageCrops
from semtta.skeletons import BODY27
from semtta.tta.view import View

BOXES = torch.tensor([[0.0, 0.0, 1.0], [500.0, 300.0, 448.0], [320.0, 240.0, 112.0]])


def view(**crop):
    spec = CropSpec(size=224, focal=5000.0, **crop)
    return View(load_body(), CAMERA, BOXES, spec, BODY27)


def prediction(*cam):
    count = len(cam)
    return Prediction(torch.eye(3).expand(count, 24, 3, 3), torch.zeros(count, 10),
                      torch.tensor(cam))  # fmt: skip


ROWS = torch.tensor([2, 1])
POINTS = torch.tensor([[[0.0, 0.0, 0.0], [0.5, -0.25, 0.5]]]).repeat(2, 1, 1)


def test_a_camera_of_the_crop_projects_into_the_crop_and_the_box_puts_it_in_the_picture():
    found = view(camera="crop").project(prediction((1.0, 0, 0), (0.5, 0.2, 0.1)), ROWS, POINTS)
    for row, (box, (scale, x, y)) in enumerate(zip(BOXES[ROWS], ((1, 0, 0), (0.5, 0.2, 0.1)))):
        depth = 2 * 5000 / (224 * scale)
        for point, pixel in zip(POINTS[row], found[row]):
            px, py = (5000 * (point[i] + (x, y)[i]) / (point[2] + depth) for i in (0, 1))
            expected = box[:2] + torch.stack((px, py)) * box[2] / 224
            torch.testing.assert_close(pixel, expected, atol=0.02, rtol=0)


def test_the_full_camera_sees_a_body_where_it_is_placed():
    looks, guess = view(camera="full"), prediction((1.0, 0.1, 0.0), (0.5, 0.2, 0.1))
    place = looks.translation(guess, ROWS)
    torch.testing.assert_close(place, full_translation(guess.cam, BOXES[ROWS], CAMERA))
    points = POINTS + place[:, None]
    expected = points[..., :2] / points[..., 2:] * CAMERA.focal + torch.tensor(CAMERA.center)
    torch.testing.assert_close(looks.project(guess, ROWS, POINTS), expected, atol=0.05, rtol=0)


def test_landmarks_are_the_body_s_own():
    guess = prediction((1.0, 0.0, 0.0))
    expected = load_body().landmarks(guess.rotmats, guess.betas, BODY27)
    torch.testing.assert_close(view().landmarks(guess), expected)


def test_ahead_of_a_camera_that_looks_at_the_box_is_along_the_ray_to_it():
    ahead = torch.tensor([[[0.0, 0.0, 2.0]]]).repeat(2, 1, 1)
    found = view().from_crop_axes(ahead, ROWS)[:, 0]
    rays = torch.tensor([[0.0, 0.0, 1.0], [0.18, 0.06, 1.0]])  # 180 and 60 pixels off at f = 1000
    torch.testing.assert_close(found, 2 * torch.nn.functional.normalize(rays, dim=1))
    torch.testing.assert_close(view().from_crop_axes(POINTS, ROWS).norm(dim=2), POINTS.norm(dim=2))


def test_the_unit_of_the_2d_loss_is_a_pixel_of_the_crop():
    assert view().crop_scale(ROWS).tolist() == [[[2.0]], [[0.5]]]


# ---------------------------------------------------------------------- a run


def begun(*overrides, count=10):
    return begin(adapter(*overrides), walker(count), CAMERA, [None] * count, silent, None)


def test_all_frames_are_predicted_as_one_by_one_and_in_the_mode_the_model_was_not_in():
    run = begun("optimizer.chunk=3")
    modes, sizes = [], []

    def watch(model, batch):
        modes.append(model.training)
        sizes.append(len(batch[0].frames))

    run.model.register_forward_pre_hook(watch)
    for training in (True, False):
        run.model.train(training)
        everything = run.predict_all()
        assert run.model.training == training
    assert not any(modes) and sizes == [3, 3, 3, 1] * 2
    assert not everything.rotmats.requires_grad
    run.model.eval()
    single = run.forward(torch.tensor([4, 7]))
    assert single.rotmats.requires_grad
    torch.testing.assert_close(single.rotmats, everything.rotmats[[4, 7]])
    expected = run.view.project(everything, torch.arange(10), run.view.landmarks(everything))
    found = run.project_all(everything)
    torch.testing.assert_close(found, expected)
    assert found.shape == (10, len(BODY27), 2)


def test_layers_that_stay_as_they_are_run_once_for_every_frame():
    run, calls = begun("optimizer.chunk=4"), []
    before, inputs, model = run.predict_all(), run.inputs, run.model

    def doubled(inputs):
        calls.append(len(inputs))
        return (2 * inputs).requires_grad_()

    def rest(batch):
        assert torch.equal(batch.boxes, run.boxes[batch.frames])
        return model(Batch(batch.frames, batch.inputs / 2))

    model.split = {"head": (doubled, rest), "all": None}.get
    run.cache_prefix("all")
    assert run.rest is None and run.inputs is inputs
    run.cache_prefix("head")
    assert torch.equal(run.inputs, 2 * inputs) and run.rest is rest and calls == [4, 4, 2]
    for _ in range(2):
        after = run.predict_all()
        torch.testing.assert_close(after.rotmats, before.rotmats)
        torch.testing.assert_close(after.cam, before.cam)
    assert calls == [4, 4, 2]


def test_a_model_that_has_no_parts_keeps_its_inputs():
    run = begun()
    inputs = run.inputs
    run.model = SimpleNamespace()
    run.cache_prefix("head")
    assert run.inputs is inputs and run.rest is None


def test_half_precision_computes_in_it_and_answers_in_full():
    run = begun()
    full = run.predict_all()
    run.precision = "bf16"
    half = run.predict_all()
    assert half.cam.dtype == torch.float32
    assert 0 < (half.cam - full.cam).abs().max() < 0.1


def test_frames_are_asked_for_where_the_inputs_lie_and_64_at_a_time():
    run = begun(count=70)
    assert [len(chunk) for chunk in run._chunks()] == [64, 6]
    run.inputs = run.inputs.to("meta")
    assert run._chunks()[0].device.type == "meta"
    run.view = SimpleNamespace(landmarks=lambda guess: None, project=lambda _, frames, __: frames)
    frames = run.project_all(None)
    assert frames.device.type == "meta" and frames.shape == (70,)


def test_images_in_half_precision_lie_as_convolutions_like_them():
    run = begun("optimizer.precision=bf16")
    assert run.precision == "bf16"
    run.inputs = torch.rand(6, 3, 5, 4)
    for precision, last in (("bf16", True), ("fp32", False)):
        run.precision = precision
        (images,) = run._read([torch.tensor([1, 4])])
        assert torch.equal(images, run.inputs[[1, 4]])
        assert images.is_contiguous(memory_format=torch.channels_last) == last


def test_crops_of_a_picture_are_read_ahead(monkeypatch):
    asked = []
    monkeypatch.setattr(ImageCrops, "prefetch", lambda crops, chunks: asked.append(chunks) or "ab")
    run, chunks = begun(), [torch.tensor([0]), torch.tensor([1])]
    run.inputs = ImageCrops(torch.zeros(2, 4, 4, 3).half(), CropSpec(size=4), torch.device("cpu"))
    assert list(run._read(chunks)) == ["a", "b"] and asked == [chunks]
