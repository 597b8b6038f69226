"""The overlay's sound: there, in step with the frames, and never a reason to fail."""

from __future__ import annotations

import av
import numpy as np
import pytest
from sound_files import HEIGHT, WIDTH, flash_and_tone, flash_time, heard, tone_time

from semtta.errors import SemttaError
from semtta.output.overlay import Panel, write_overlay
from semtta.video import ImageSequence, probe, read_frames, write_timed, write_video

AT_30 = [i / 30 for i in range(60)]
UNEVEN = [
    i / 30 if i < 20 else 1 + (i - 20) / 15 for i in range(50)
]  # 1/3 s in which nothing moves


def overlay(source, tmp_path, **settings):
    """The overlay of a video in which nobody is, and what was said."""
    said = []
    nobody = Panel("adapted", np.zeros(0, int), np.zeros((0, 3, 3)), np.array([[0, 1, 2]]),
                   np.eye(3))  # fmt: skip
    path = write_overlay(
        tmp_path / "overlay.mp4", source, [nobody],
        progress=lambda stage, done, total, values: said.append(values["text"])
        if stage == "note" else None, **settings,
    )  # fmt: skip
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    return path, said


def codec(path) -> str | None:
    with av.open(str(path)) as file:
        return (
            file.streams.audio[0].codec_context.codec.canonical_name if file.streams.audio else None
        )


@pytest.mark.parametrize(
    ("name", "times", "flash", "sound", "more"),
    [
        ("plain.mp4", AT_30, 1, (0, 2), {}),
        ("late picture.mp4", [1.5 + t for t in AT_30], 2.5, (0, 4), {}),
        ("late sound.mp4", AT_30, 1, (0.5, 2), {}),
        ("long.mkv", AT_30, 1, (0, 5), {}),
        ("uneven.mp4", UNEVEN, 1, (0, 3), {}),
        ("uneven late.mkv", [0.7 + t for t in UNEVEN], 1.7, (0, 4), {}),
        ("mp3.mkv", AT_30, 1, (0, 2), {"codec": "libmp3lame"}),
        ("opus.mkv", AT_30, 1, (0, 2), {"codec": "libopus", "rate": 48000}),
        ("pcm.mov", AT_30, 1, (0, 2), {"codec": "pcm_s16le", "layout": "stereo"}),
        ("late pcm.mov", AT_30, 1, (0.4, 2), {"codec": "pcm_s16le"}),
        ("flac.mkv", [0.5 + t for t in AT_30], 1.5, (0, 2), {"codec": "flac"}),
        ("broadcast.ts", [1.5 + t for t in AT_30], 2.5, (0, 4), {}),
        ("surround.mkv", AT_30, 1, (0, 2), {"codec": "flac", "layout": "5.1", "rate": 96000}),
    ],
)
def test_sound_keeps_step_with_the_frames(tmp_path, name, times, flash, sound, more):
    """The tone begins where it begins in the source: with the flash."""
    if more.get("codec", "aac") not in av.codecs_available:
        pytest.skip("no encoder")
    source = flash_and_tone(tmp_path / name, times, flash, sound, **more)
    path, said = overlay(source, tmp_path)
    assert not said
    assert flash_time(path) == pytest.approx(flash_time(source), abs=1e-3)
    assert tone_time(path) == pytest.approx(flash - times[0], abs=4e-3)
    assert [t for _, t, _ in read_frames(path)] == pytest.approx(
        [t for _, t, _ in read_frames(source)], abs=1e-3
    )
    track, rate = heard(path)
    shown = times[-1] - times[0] + 1 / 30
    assert len(track) / rate == pytest.approx(min(shown, sound[1] - times[0]), abs=0.05)
    assert track[int(1.2 * rate) : int(1.8 * rate)].max() > 0.4
    assert codec(path) == ("mp3" if "mp3" in name else "aac")


def test_what_browsers_play_is_copied_bit_for_bit(tmp_path):
    source = flash_and_tone(tmp_path / "a.mp4", AT_30, 1, (0, 2))
    path, _ = overlay(source, tmp_path)
    packets = []
    for file in (source, path):
        with av.open(str(file)) as container:
            packets.append([bytes(p) for p in container.demux(audio=0) if p.size])
    assert packets[1] and packets[1] == packets[0][: len(packets[1])]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_gaps_are_silence(tmp_path, name):
    """What is missing moves nothing."""
    source = flash_and_tone(tmp_path / name, AT_30, 0.3, (0, 2), gap=(0.8, 1.2))
    path, _ = overlay(source, tmp_path)
    track, rate = heard(path)
    loud = [track[int(a * rate) : int(b * rate)].max() > 0.2
            for a, b in ((0.05, 0.25), (0.35, 0.75), (0.88, 1.15), (1.3, 1.9))]  # fmt: skip
    assert loud == [False, True, False, True]


def test_damaged_sound_is_a_note_and_silence(tmp_path):
    source = flash_and_tone(tmp_path / "a.mp4", AT_30, 1, (0, 2), damage=(5, 20))
    path, said = overlay(source, tmp_path)
    assert len(said) == 1 and "'a.mp4' is damaged" in said[0]
    assert tone_time(path) == pytest.approx(1, abs=4e-3)
    assert len(list(read_frames(path))) == 60


def test_sound_that_cannot_be_had_is_a_note(tmp_path, monkeypatch):
    source = flash_and_tone(tmp_path / "a.mp4", AT_30, 1, (0, 2), damage=(0, 10_000))
    path, said = overlay(source, tmp_path)
    assert len(said) == 1 and "left out: none of it can be decoded" in said[0]
    assert heard(path) is None and len(list(read_frames(path))) == 60

    good = flash_and_tone(tmp_path / "b.mp4", AT_30, 1, (0, 2))

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("semtta.video.sound._frames", fail)
    path, said = overlay(good, tmp_path)
    assert len(said) == 1 and "left out: No space left on device" in said[0]
    assert heard(path) is None and len(list(read_frames(path))) == 60
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "overlay.mp4"]


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bytes_never_cost_the_frames(tmp_path, seed):
    """Sound whose packets are spoilt here and there."""
    source = flash_and_tone(tmp_path / "a.mkv", AT_30, 1, (0, 2), codec="libmp3lame")
    data, rng = bytearray(source.read_bytes()), np.random.default_rng(seed)
    with av.open(str(source)) as file:
        places = [p.pos for p in file.demux(audio=0) if p.size and p.pos]
    for at in rng.choice(places, 8, replace=False):
        data[at + 8 : at + 24] = rng.integers(0, 256, 16, np.uint8).tobytes()
    source.write_bytes(data)
    frames = [((i / 30), np.zeros((HEIGHT, WIDTH, 3), np.uint8)) for i in range(60)]
    said = []
    path = write_timed(tmp_path / "o.mp4", frames, 30, (WIDTH, HEIGHT), sound=source,
                       note=said.append)  # fmt: skip
    assert len(list(read_frames(path))) == 60 and len(said) <= 1


def test_without_sound_nothing_is_said(tmp_path):
    frames = [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 5
    source = write_video(tmp_path / "a.mp4", frames, 30, (WIDTH, HEIGHT))
    path, said = overlay(source, tmp_path)
    assert not said and heard(path) is None
    before = flash_and_tone(tmp_path / "b.mp4", AT_30, 1, (5, 6))  # begins when all is over
    path, said = overlay(before, tmp_path)
    assert not said and heard(path) is None


def test_images_have_no_sound(tmp_path):
    import cv2

    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(4):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((HEIGHT, WIDTH, 3), 80, np.uint8))
    images = ImageSequence(folder, tuple(f"{i}.png" for i in range(4)), 12.5)
    path, said = overlay(images, tmp_path)
    assert not said and heard(path) is None and probe(path).fps == 12.5


def test_same_file_every_time(tmp_path):
    for sound in ("aac", "flac"):
        source = flash_and_tone(tmp_path / "a.mkv", AT_30, 1, (0, 2), codec=sound)
        first = overlay(source, tmp_path)[0].read_bytes()
        assert overlay(source, tmp_path)[0].read_bytes() == first


def test_a_pause_of_days_is_not_written(tmp_path):
    source = flash_and_tone(tmp_path / "a.mp4", AT_30, 1, (0, 2))
    frames = [(t, np.zeros((HEIGHT, WIDTH, 3), np.uint8)) for t in (0, 0.1, 9e5, 9e5 + 0.1)]
    said = []
    path = write_timed(tmp_path / "o.mp4", frames, 10, (WIDTH, HEIGHT), sound=source,
                       note=said.append)  # fmt: skip
    assert [t for _, t, _ in read_frames(path)] == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-3)
    assert len(said) == 1 and "more than an hour" in said[0] and heard(path) is None


def test_no_frames(tmp_path):
    source = flash_and_tone(tmp_path / "a.mp4", AT_30, 1, (0, 2))
    with pytest.raises(SemttaError, match="no frames"):
        write_timed(tmp_path / "o.mp4", [], 30, (WIDTH, HEIGHT), sound=source)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
