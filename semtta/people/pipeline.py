"""Video -> tracks: detect, link identities, look at each person, fuse and gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from semtta.engine import threaded_map
from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.people import gating
from semtta.people.blazepose import BlazePose, Roi
from semtta.people.finding import Ticks, find_everyone, input_size
from semtta.people.fusion import Looks, fuse
from semtta.people.masking import overlaps, paint_over
from semtta.people.movenet import MoveNet
from semtta.people.others import AT_LEAST, Person, foreign, hidden, present
from semtta.people.rois import fill_gaps, roi_track
from semtta.people.tracker import Chain, Detections, box_size
from semtta.skeletons import BLAZEPOSE33, BODY27
from semtta.video import VideoInfo, VideoSource, cut_video, probe, read_frames
from semtta.video.cut import Edge
from semtta.video.memory import FramesInMemory

Progress = Callable[[int, int | None], None]

_BODY_IN_BLAZE = np.array(BLAZEPOSE33.indices(BODY27.joints))


class NobodyFound(SemttaError):
    """There is nobody in the frames, as far as the detector can tell."""


@dataclass(frozen=True)
class TrackedVideo:
    """Everyone found in a video.

    Args:
        info: the file.
        tracks: the main person first (large, long seen, central, moving), ids counting from 1
            in that order; keypoints in ``BODY27``.
        times: (N,) seconds, presentation times of all N frames of the video; of a part of it, of
            those up to the part's end.
    """

    info: VideoInfo
    tracks: list[Track]
    times: torch.Tensor

    @property
    def length(self) -> tuple[int, float]:
        """Frames and seconds of the whole video; what follows the end of a part, as announced."""
        read, cut = len(self.times), self.info.cut
        rest = 0 if cut is None or cut.end is None else max(0, (self.info.frames or 0) - read)
        return read + rest, float(self.times[-1]) + (1 + rest) / self.info.fps

    def save(self, path: str | Path) -> Path:
        """Write everyone to a file (npz), whole or not at all; ``load`` reads it back exactly.

        Raises ``SemttaError`` if it cannot be written."""
        from semtta.people.track_files import save_tracked

        return save_tracked(path, self)

    @staticmethod
    def load(path: str | Path, video: VideoSource | None = None) -> TrackedVideo:
        """What ``save`` wrote, bit for bit.

        Args:
            video: where the video lies now; None = where it was.
        Raises ``SemttaError`` for a file that is none of these, or another video."""
        from semtta.people.track_files import load_tracked

        return load_tracked(path, video)


def track_video(
    path: VideoSource | FramesInMemory,
    *,
    progress: Progress | None = None,
    detect_size: int | str = "auto",
    max_people: int | None = None,
    start: Edge | None = None,
    end: Edge | None = None,
    threads: int = 2,
) -> TrackedVideo:
    """Find and follow everyone in a video.

    The file is read twice: first to find people and settle who is who over the whole video, then
    to look closely at each of them. Where the first look was not enough (somebody is lost, people
    are small or many), ``auto`` reads parts of it once more in between; a note says so.

    Args:
        path: a video file, a folder of images, or frames in memory.
        progress: called with (done, total or None); every frame counts twice,
            those that are looked at again once more.
        detect_size: long side of the detector's input, pixels; ``auto`` begins with 448.
        max_people: keep only the most prominent tracks.
        start, end: only from this frame until before that one: numbers, or times as texts such
            as ``4s`` and ``1:02.5``. Frames keep their numbers and times in the video.
        threads: frames looked at in parallel; the result does not depend on it.

    Raises ``SemttaError`` if the file is unreadable, the range outside it, or nobody is found.
    """
    if not isinstance(path, FramesInMemory):
        path = cut_video(path, start, end)
    elif (start, end) != (None, None):
        raise SemttaError("frames in memory are cut by whoever has them; leave start and end out.")
    info = probe(path)
    total = None if info.span is None else info.span[1] + info.span[1] - info.span[0]
    tick = Ticks(progress, total)
    said: list[str] = []  # what only reading shows
    net, auto = MoveNet(input_size(detect_size)), detect_size == "auto"
    found = find_everyone(path, info, net, auto, threads, tick, said.append)
    info, times = replace(info, notes=(*info.notes, *said)), found.times
    people = [_fill(chain, found.detections, times) for chain in found.chains]
    if not people:
        raise NobodyFound(
            f"nobody was found in '{info.path}'; if there are people, look closer (a larger "
            "detector.size) or bring your own 2D poses."
        )
    people.sort(key=lambda person: -_prominence(person, info))
    wanted = people[:max_people]
    looks = _look(path, wanted, people, BlazePose(), threads, tick)
    tick.finish()
    tracks = [
        _to_track(i, person, people, look, info)
        for i, (person, look) in enumerate(zip(wanted, looks), 1)
    ]
    return TrackedVideo(info, tracks, torch.from_numpy(times.astype(np.float64)))


def _fill(chain: Chain, detections: list[Detections], times: np.ndarray) -> Person:
    frames = np.arange(chain.frames[0], chain.frames[-1] + 1)
    at = chain.frames - frames[0]
    seen = np.zeros(len(frames), bool)
    seen[at] = True
    picked = [detections[t][n] for t, n in zip(chain.frames, chain.picks)]

    def spread(values) -> np.ndarray:
        values = np.stack(values)
        full = np.zeros((len(frames), *values.shape[1:]))
        full[at] = values
        flat = fill_gaps(full.reshape(len(frames), -1), seen, times[frames])
        return flat.reshape(full.shape)

    conf = np.zeros((len(frames), 17))
    conf[at] = np.stack([person.conf for person in picked])
    return Person(
        frames=frames,
        times=times[frames],
        seen=seen,
        boxes=spread([person.boxes for person in picked]),
        xy=spread([person.xy for person in picked]),
        conf=conf,
        score=float(np.mean([person.scores for person in picked])),
    )


def _prominence(person: Person, info: VideoInfo) -> float:
    """How likely this is the person whom the video is about: large, seen for long, near the
    middle, and moving (a bystander close to the camera may be larger)."""
    size = box_size(person.boxes)
    middle = (person.boxes[:, 0] + person.boxes[:, 2]) / 2
    central = 1 - np.clip(np.abs(middle / info.width - 0.5), 0, 0.5)
    motion = 0.0
    if len(size) > 1:
        moved = np.linalg.norm(np.diff(person.xy, axis=0), axis=-1).mean(1) / size[1:]
        motion = float(np.median(moved)) / person.step  # sizes per second
    return float((size * central * person.seen).sum()) * (1 + min(motion, 1.0))


def _look(
    path, wanted: list[Person], everyone: list[Person], net: BlazePose, threads: int, tick
) -> list[Looks]:
    """Second reading: several looks per person and frame."""
    rois = [roi_track(p.xy, p.conf, p.boxes, p.times) for p in wanted]

    def look(frame) -> list:
        index, _, image = frame
        seen = []
        for i, person in enumerate(wanted):
            t = index - person.frames[0]
            if 0 <= t < len(person.frames):
                others = present(everyone, person, index)
                seen.append((i, _looks_at(image, rois[i][t], others, net)))
        return seen

    found: list[list] = [[] for _ in wanted]
    for seen in threaded_map(look, read_frames(path), threads):
        for i, looks in seen:
            found[i].append(looks)
        tick()
    return [Looks(*(np.stack(part) for part in zip(*looks, strict=True))) for looks in found]


def _looks_at(image: np.ndarray, roi: Roi, others: list[tuple[Person, int]], net: BlazePose):
    """Two plain looks and two more: without the others where they are near, else slightly
    larger; each pair once mirrored."""
    near = [(o, u) for o, u in others if overlaps(o.boxes[u], roi.center, 0.75 * roi.size)]
    images, rois = [image, image], [roi, roi]
    if near:
        painted = image.copy()
        for other, u in near:
            paint_over(painted, other.boxes[u], other.xy[u], np.maximum(other.conf[u], AT_LEAST))
        images += [painted, painted]
        rois += [roi, roi]
    else:
        closer = Roi(roi.center, roi.size * 0.9, roi.angle)
        images += [image, image]
        rois += [closer, closer]
    seen = net(images, rois, [False, True, False, True])
    body = _BODY_IN_BLAZE
    arrays = (seen.xy[:, body], seen.visibility[:, body], seen.world[:, body], seen.flag)
    return tuple(a.astype(np.float32) for a in arrays)


def _to_track(
    number: int, person: Person, everyone: list[Person], looks: Looks, info: VideoInfo
) -> Track:
    size = gating.person_size(person.boxes)
    fused = fuse(looks, person.xy, person.conf, size)
    evidence = gating.gate(
        fused,
        person.xy,
        person.conf,
        person.boxes,
        hidden(fused.xy, person, everyone),
        person.times,
        (info.width, info.height),
        foreign(fused.xy, person, everyone, size),
    )
    return Track(
        id=number,
        frames=torch.from_numpy(person.frames.copy()),
        times=torch.from_numpy(person.times.copy()),
        boxes=torch.from_numpy(evidence.boxes).float(),
        keypoints=Keypoints2D(
            torch.from_numpy(evidence.xy).float(), torch.from_numpy(evidence.conf).float(), BODY27
        ),
        landmarks3d=torch.from_numpy(evidence.world).float(),
        conf3d=torch.from_numpy(evidence.conf3d).float(),
    )
