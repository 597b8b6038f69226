"""Pictures made worse: seeded, in three strengths, each in its own way."""

from __future__ import annotations

import numpy as np
import pytest

from semtta.bench.beam import BeamBenchmark
from semtta.bench.degrade import KINDS, STRENGTHS, degradation
from semtta.bench.options import Options, check_options, command_line, inputs
from semtta.errors import SemttaError
from semtta.video import read_frames, write_video

HEIGHT, WIDTH = 240, 160


@pytest.fixture(scope="module")
def frames():
    """Smooth shades with edges, the second frame moved by a pixel."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    shades = np.stack((x, y, 80 + (x + y) / 3), axis=-1)
    checks = 60 * (((x // 8 + y // 8) % 2) - 0.5)[..., None]
    frame = np.clip(shades + checks, 0, 255).astype(np.uint8)
    return [frame, np.roll(frame, 1, axis=1)]


def made(frames, text: str, seed: int = 0) -> np.ndarray:
    return np.stack(list(degradation(text)(iter(frames), seed)))


def error(a, b) -> float:
    return float(np.sqrt(((np.stack(a).astype(float) - b) ** 2).mean()))


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_keep_their_form_and_get_worse_with_strength(kind, frames):
    found = [made(frames, f"{kind}:{strength}") for strength in STRENGTHS]
    for worse in found:
        assert worse.shape == (2, HEIGHT, WIDTH, 3) and worse.dtype == np.uint8
    errors = [error(frames, worse) for worse in found]
    assert 2 < errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_kept_and_what_is_random_differs_between_seeds(kind, frames):
    first, again, other = made(frames, f"{kind}:2"), made(frames, f"{kind}:2"), made(
        frames, f"{kind}:2", seed=1)  # fmt: skip
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (kind in ("small", "jpeg"))
    assert np.array_equal(first[:1], made(frames[:1], f"{kind}:2"))  # whatever comes after


def test_each_kind_does_what_its_name_says(frames):
    true = np.stack(frames).astype(float)

    def edges(pictures) -> float:
        both = (np.diff(pictures.astype(float), n=2, axis=axis) for axis in (1, 2))
        return float(sum(np.abs(change).mean() for change in both))

    assert made(frames, "dark:1").mean() < 0.5 * true.mean()
    for kind in ("blur", "small", "jpeg", "noise"):
        assert abs(made(frames, f"{kind}:2").mean() - true.mean()) < 4
    for kind in ("blur", "small"):
        assert edges(made(frames, f"{kind}:2")) < 0.8 * edges(true)
    assert edges(made(frames, "noise:2")) > 2 * edges(true)
    tint = made(frames, "tint:2").mean((0, 1, 2)) / true.mean((0, 1, 2))
    assert tint.max() == pytest.approx(1, abs=0.01) and tint.min() == pytest.approx(0.5, abs=0.01)
    for first, second in (made([frame, frame], "tint:3") for frame in frames[:1]):
        assert np.array_equal(first, second)  # the light does not flicker
    first, second = made([frames[0], frames[0]], "blur:3")
    assert not np.array_equal(first, second)  # the camera shakes


@pytest.mark.parametrize("text", ["", "dark", "dark:", "dark:0", "dark:4", "dark:2:1", "fog:1"])
def test_another_text_is_one_sentence(text):
    with pytest.raises(SemttaError, match="is no degradation; give one of dark, blur, noise"):
        degradation(text)


def test_beam_shows_worse_clips_and_keeps_them(frames, tmp_path, monkeypatch):
    clean = write_video(tmp_path / "clip.mp4", frames, 60, (WIDTH, HEIGHT))
    monkeypatch.setattr(BeamBenchmark, "_video", lambda self, camera, level: clean)
    assert BeamBenchmark(tmp_path)._degraded(1, "clean") == clean
    dark = BeamBenchmark(tmp_path, degrade=degradation("dark:2"))
    shown = dark._degraded(1, "clean")
    assert shown.name == "cam02-clean-dark2.mp4"
    pictures = [image for _, _, image in read_frames(shown)]
    assert len(pictures) == 2 and np.mean(pictures) < 0.4 * np.mean(frames)
    made_at = shown.stat().st_mtime_ns
    assert dark._degraded(1, "clean") == shown and shown.stat().st_mtime_ns == made_at


def test_the_bench_knows_what_was_made_worse(tmp_path):
    worse = Options("beam", tmp_path, degrade="dark:2")
    check_options(worse)
    assert inputs(worse) == {"degrade": "dark:2"} and not inputs(Options("beam", tmp_path))
    assert "--degrade dark:2" in command_line(worse)
    with pytest.raises(SemttaError, match="--degrade belongs to --data beam"):
        check_options(Options("mocap", tmp_path, degrade="dark:2"))


def test_the_bench_knows_who_found_the_evidence(tmp_path):
    net = tmp_path / "net.pt"
    net.write_bytes(b"one")
    options = Options("beam", tmp_path, estimator=net)
    check_options(options)
    first = inputs(options)
    net.write_bytes(b"two")
    assert inputs(options) != first and list(first) == ["estimator"]
    assert "--estimator PATH" in command_line(options)
    with pytest.raises(SemttaError, match="--estimator belongs to --data beam"):
        check_options(Options("mocap", tmp_path, estimator=net))
