"""The sound of a video under frames that were written anew: copied, or encoded as AAC."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from semtta.reading import reason
from semtta.video.complete import lacks
from semtta.video.decode import first_stamp
from semtta.video.info import Note
from semtta.video.mp4 import count_frames, new_mp4, own_mp4
from semtta.video.opening import opened

_PLAYED = ("aac", "mp3")  # by every browser, in mp4
_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 11025, 8000)  # of AAC
_SLACK = 0.04  # seconds by which sound may be off before it is moved
_SILENCE = 1 << 14  # samples at a time


class _Unfit(Exception):
    """This sound cannot be copied packet by packet."""


def add_sound(video: Path, source: Path, note: Note, begins: float = 0.0) -> None:
    """Lay the first sound of a source under an mp4 file; without any, nothing happens.

    Sound and frames keep the source's times: the first of these frames is the file's zero, and the
    sound lasts no longer than the frames do. It is copied where browsers play it and it is without
    fault; else it is decoded and encoded, with silence where nothing can be decoded.

    Args:
        video: mp4 file with the source's frames at their times. Replaced only by a whole one.
        source: a video file.
        begins: seconds of the first of these frames after the source's own first one.
        note: told if sound is damaged or cannot be had; never is that an error."""
    both = video.with_name(f"{video.stem}.sound{video.suffix}")
    try:
        start = first_stamp(source) + begins
        for way in (_copied, _encoded):
            try:
                missing = _join(video, source, start, both, way)
                break
            except _Unfit:
                continue
        if missing is None:
            return
        if lacks(both) is not None or count_frames(both) != count_frames(video):
            raise OSError("it cannot be written whole")
        both.replace(video)
        if missing:
            note(f"the sound of '{source.name}' is damaged; silence stands for what is missing.")
    except Exception as error:  # whatever a stranger's sound can cause; the frames are there
        note(f"the sound of '{source.name}' was left out: {reason(error)}.")
    finally:
        both.unlink(missing_ok=True)


def _join(video: Path, source: Path, start: float, target: Path, way: Callable) -> int | None:
    """Number of packets of the sound that are damaged; None if there is no sound."""
    with opened(source) as theirs:
        if not theirs.streams.audio:
            return None
        heard = theirs.streams.audio[0]
        if heard.codec_context is None:
            raise ValueError("its codec cannot be decoded here")
        with own_mp4(video) as ours, new_mp4(target) as container:
            seen = ours.streams.video[0]
            assert seen.duration is not None and seen.time_base is not None  # as we wrote it
            end = float(seen.duration * seen.time_base)
            shown = container.add_stream_from_template(seen)
            reader = _Sound(theirs, heard, start, end)
            packets = way(reader, container)
            for packet in heapq.merge(_frames(ours, shown), packets, key=_time):
                container.mux(packet)
    if not reader.good:
        raise ValueError("none of it can be decoded" if reader.bad else "it is empty")
    return reader.bad


def _frames(container: av.container.InputContainer, target: av.VideoStream) -> Iterator[av.Packet]:
    for packet in container.demux(video=0):
        if packet.dts is not None:
            packet.stream = target
            yield packet


def _time(packet: av.Packet) -> Fraction:
    assert packet.dts is not None  # encoders and _frames give none without
    return packet.dts * packet.time_base


class _Sound:
    """The sound of an open file on its way.

    Args:
        start, end: seconds by the file's clock of its first frame; of all frames together."""

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.AudioStream,
        start: float,
        end: float,
    ):
        self.container, self.stream, self.start, self.end = container, stream, start, end
        self.good = self.bad = 0  # packets

    def packets(self) -> Iterator[tuple[av.Packet, list[av.AudioFrame] | None]]:
        """Packets with what they decode to, None for a damaged one."""
        packets = self.container.demux(self.stream)
        while True:
            packet = None
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = None if packet.is_corrupt else packet.decode()
            except av.EOFError:
                return
            except av.FFmpegError as error:
                if packet is None or isinstance(error, MemoryError):
                    raise
                frames = None
            self.good, self.bad = self.good + bool(frames), self.bad + (frames is None)
            yield packet, frames

    def place(self, stamp: int, base: Fraction) -> float:
        """Seconds after the first frame."""
        return float(stamp * base) - self.start


def _copied(sound: _Sound, container: av.container.OutputContainer) -> Iterator[av.Packet]:
    """The packets as they are; raises ``_Unfit`` as soon as one may not be heard as it should."""
    codec = sound.stream.codec_context
    if codec.codec.canonical_name not in _PLAYED or (codec.name == "aac" and not codec.extradata):
        raise _Unfit  # AAC without a header of its own is that of broadcasts
    target = container.add_stream_from_template(sound.stream)

    def packets() -> Iterator[av.Packet]:
        expected = None
        for packet, frames in sound.packets():
            if not packet.size:  # asks the decoder for its last frames
                continue
            if frames is None or packet.pts is None or not packet.duration:
                raise _Unfit
            at = sound.place(packet.pts, packet.time_base)
            lasts = float(packet.duration * packet.time_base)
            if expected is not None and abs(at - expected) > _SLACK:
                raise _Unfit
            expected = at + lasts
            if at >= sound.end:
                return
            if at + 2 * lasts <= 0:  # the last one before is needed to decode the first
                continue
            packet.pts = packet.dts = round(at / packet.time_base)
            packet.stream = target
            yield packet

    return packets()


def _encoded(sound: _Sound, container: av.container.OutputContainer) -> Iterator[av.Packet]:
    """The sound as AAC, mono or stereo, without gaps from the first frame on."""
    codec = sound.stream.codec_context
    rate = codec.sample_rate if codec.sample_rate in _RATES else _RATES[0]
    layout = "mono" if codec.channels == 1 else "stereo"
    target = container.add_stream("aac", rate=rate, layout=layout)

    def packets() -> Iterator[av.Packet]:
        at = 0
        for samples in _laid(sound, rate, layout):
            frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            at += samples.shape[1]
            yield from target.encode(frame)
        yield from target.encode(None)

    return packets()


def _laid(sound: _Sound, rate: int, layout: str) -> Iterator[np.ndarray]:
    """Samples (channels, N) one after the other from the first frame to the end of the last.

    Silence fills the time before the sound and its gaps; what overlaps is heard once."""
    at, last = 0, round(sound.end * rate)
    for place, samples in _resampled(sound, rate, layout):
        slack = _SLACK * rate if at else 0
        early = 0 if place is None or abs(place - at) <= slack else at - place
        for _ in range(0, min(-early, last - at), _SILENCE):
            silence = np.zeros((len(samples), min(_SILENCE, -early, last - at)), np.float32)
            yield silence
            at, early = at + silence.shape[1], early + silence.shape[1]
        samples = samples[:, max(early, 0) :][:, : last - at]
        if samples.shape[1]:
            yield np.ascontiguousarray(samples)
            at += samples.shape[1]
        if at >= last:
            return


def _resampled(sound: _Sound, rate: int, layout: str) -> Iterator[tuple[int | None, np.ndarray]]:
    """Where decoded samples belong, in samples after the first frame, and (channels, N) in ±1."""
    kind: tuple[str, str, int] | None = None
    resampler: av.AudioResampler | None = None
    for _, frames in sound.packets():
        for frame in frames or ():
            place = None
            if frame.pts is not None and frame.time_base is not None:
                place = round(sound.place(frame.pts, frame.time_base) * rate)
            now = frame.format.name, frame.layout.name, frame.sample_rate
            if resampler is None or now != kind:  # a broadcast may change it on the way
                kind, resampler = now, av.AudioResampler("fltp", layout, rate)
            frame.pts = None
            parts = [part.to_ndarray() for part in resampler.resample(frame)]
            if parts:
                yield place, np.clip(np.nan_to_num(np.concatenate(parts, 1)), -1, 1)
