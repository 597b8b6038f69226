"""Videos with sound, made by PyAV: a flash in the picture and a tone that begin together."""

from __future__ import annotations

import heapq
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from semtta.video import read_frames

WIDTH, HEIGHT = 96, 64


def flash_and_tone(
    path: Path,
    times: list[float],
    flash: float,
    sound: tuple[float, float],
    *,
    codec: str = "aac",
    rate: int = 44100,
    layout: str = "mono",
    gap: tuple[float, float] | None = None,
    damage: tuple[int, int] | None = None,
    video: str = "libx264",
    **container,
) -> Path:
    """A video whose picture turns white when its sound turns from silence to a tone.

    Args:
        times: of the frames, seconds by the file's clock.
        flash: when that is, by the same clock.
        sound: when the sound begins and ends.
        gap: seconds of the sound that are not in the file.
        damage: packets of the sound, from and to, whose bytes are exchanged."""
    with av.open(str(path), "w", **container) as file:
        seen = file.add_stream(video, 30, options={"bf": "0"} if video == "libx264" else {})
        seen.width, seen.height, seen.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        heard = file.add_stream(codec, rate=rate, layout=layout)
        packets = heapq.merge(
            _pictures(seen, times, flash), _tone(heard, sound, flash, gap, damage),
            key=lambda packet: packet.dts * packet.time_base,
        )  # fmt: skip
        for packet in packets:
            file.mux(packet)
    return path


def _pictures(stream, times: list[float], flash: float):
    stream.codec_context.time_base = Fraction(1, 30000)
    for time in times:
        grey = 230 if time >= flash - 1e-6 else 20
        frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), grey, np.uint8), "rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = round(time * 30000), Fraction(1, 30000)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _tone(stream, sound, flash, gap, damage):
    rate, number = stream.rate, 0
    channels = stream.codec_context.channels
    count = round((sound[1] - sound[0]) * rate)
    seconds = sound[0] + np.arange(count) / rate
    wave = np.where(seconds >= flash, 0.5 * np.sin(2 * np.pi * 1000 * seconds), 0)
    step = stream.codec_context.frame_size or 1024

    def frames():
        for at in range(0, count, step):
            samples = np.tile(wave[at : at + step].astype(np.float32), (channels, 1))
            frame = av.AudioFrame.from_ndarray(samples, "fltp", stream.codec_context.layout.name)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = at
            yield from stream.encode(frame)
        yield from stream.encode(None)

    rng = np.random.default_rng(0)
    shift = Fraction(sound[0]).limit_denominator(1000)
    for packet in frames():
        ticks = int(shift / packet.time_base)
        packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        at, number = float(packet.pts * packet.time_base), number + 1
        if gap is not None and gap[0] <= at < gap[1]:
            continue
        if damage is not None and damage[0] <= number < damage[1]:
            spoilt = av.Packet(rng.integers(0, 256, packet.size, np.uint8).tobytes())
            spoilt.pts, spoilt.dts, spoilt.duration = packet.pts, packet.dts, packet.duration
            spoilt.time_base, spoilt.stream = packet.time_base, stream
            packet = spoilt
        yield packet


def flash_time(path: Path) -> float:
    """When the first white frame is shown, seconds after the first frame."""
    return next(time for _, time, frame in read_frames(path) if frame.mean() > 125)


def heard(path: Path) -> tuple[np.ndarray, int] | None:
    """Loudest of all channels at every sample from the first frame on, as a player has it, and
    the rate; None without sound."""
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return None
        stream = file.streams.audio[0]
        rate, track = stream.rate, np.zeros(0, np.float32)
        for frame in file.decode(stream):
            assert frame.format.name == "fltp"
            at = round(float(frame.pts * frame.time_base) * rate)
            samples = np.abs(frame.to_ndarray()).max(0)
            samples, at = samples[max(0, -at) :], max(0, at)
            if at + len(samples) > len(track):
                track = np.pad(track, (0, at + len(samples) - len(track)))
            track[at : at + len(samples)] = samples
        return track, rate


def tone_time(path: Path) -> float:
    """When the tone begins, seconds after the first frame."""
    track, rate = heard(path)
    return int(np.argmax(track > 0.2)) / rate
