"""Users' own 2D poses: OpenPose folders, COCO result files, and plain arrays.

| what | layout |
|---|---|
| folder | OpenPose: one ``*_keypoints.json`` per frame, BODY_25 (75 numbers) or COCO-18 (54) |
| .json | list of ``{image_id, keypoints, score?, box?, bbox?, idx?, track_id?}``: COCO results |
|       | as mmpose, ViTPose and AlphaPose write them, 17 joints (or Halpe/whole-body: first 17) |
| .npz | one person: ``xy (T, J, 2)``, ``conf (T, J)``, ``skeleton``, ``frames``?, ``boxes``? |

Frames count from 0. Where a format does not say who is who, the tracker does.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D, Track
from semtta.people.tracker import Detections, box_size, link, suppress_duplicates
from semtta.skeletons import BODY25, COCO17, COCO18, Skeleton, skeleton
from semtta.video import VideoInfo

_OPENPOSE = {75: BODY25, 54: COCO18}
# 17 joints; Halpe-26, COCO-WholeBody-133 and Halpe-136 begin with the same 17.
_COCO_NUMBERS = (51, 78, 399, 408)
# Heat-map maxima overshoot [0, 1] a little; anything beyond is another quantity.
_OVERSHOOT = 0.5
_BOX_MARGIN = 0.1  # of the joints' extent, on each side


@dataclass(frozen=True)
class _Entry:
    """One person in one frame.

    Args:
        where: file and position, for messages.
        frame: index from 0.
        xy, conf: (J, 2) pixels, (J,).
        box: (4,) x0 y0 x1 y1, pixels.
        person: identity, None where the format has none.
    """

    where: str
    frame: int
    xy: np.ndarray
    conf: np.ndarray
    box: np.ndarray
    person: int | str | None


def load_poses2d(
    path: str | Path, info: VideoInfo, times: torch.Tensor | None = None
) -> list[Track]:
    """Read 2D poses made by another program.

    Args:
        path: OpenPose folder, COCO results .json or .npz.
        info: the video they belong to.
        times: (N,) seconds of the video's frames; index / fps if None.

    Returns:
        one track per person in the file's own skeleton, largest and longest first.

    Raises ``SemttaError`` naming file and entry for a wrong number of joints, NaN, confidences
    that are none, or frames past the end of the video.
    """
    path = Path(path)
    if not path.exists():
        raise SemttaError(f"2D poses '{path}' do not exist.")
    if path.is_dir():
        entries, bones = _openpose(path)
    elif path.suffix.lower() == ".json":
        entries, bones = _coco(path)
    elif path.suffix.lower() == ".npz":
        entries, bones = _arrays(path)
    else:
        raise SemttaError(
            f"'{path}' is no known kind of 2D poses; give an OpenPose folder, a COCO results "
            ".json or an .npz."
        )
    entries = [entry for entry in entries if (entry.conf > 0).any()]
    if not entries:
        raise SemttaError(f"'{path}' contains nobody.")
    _check_frames(entries, info, times)
    people = _by_name(entries) if entries[0].person is not None else _by_tracking(entries, info)
    people.sort(key=lambda person: -sum(_size(entry) for entry in person))
    return [_track(i, person, bones, info, times) for i, person in enumerate(people, 1)]


def _size(entry: _Entry) -> float:
    return float(box_size(entry.box[None])[0])


def _openpose(folder: Path) -> tuple[list[_Entry], Skeleton]:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SemttaError(f"the folder '{folder}' contains no .json file.")
    entries, bones = [], None
    for file in files:
        content = _json(file)
        people = content.get("people") if isinstance(content, dict) else None
        if not isinstance(people, list):
            raise SemttaError(f"'{file}' is not OpenPose's output: it has no list 'people'.")
        frame = _frame_number(file.stem, f"'{file}'")
        for i, person in enumerate(people):
            where = f"'{file}', person {i}"
            numbers = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
            if not numbers:  # faces or hands without a body
                continue
            values = _numbers(numbers, where)
            if len(values) not in _OPENPOSE:
                raise SemttaError(
                    f"{where}: {len(values)} numbers, expected 75 (BODY_25) or 54 (COCO-18)."
                )
            found = _OPENPOSE[len(values)]
            if bones is not None and found is not bones:
                raise SemttaError(
                    f"{where}: {found.name}, but the files before it are {bones.name}."
                )
            bones = found
            entries.append(_entry(values, where, frame))
    return entries, bones or BODY25


def _coco(file: Path) -> tuple[list[_Entry], Skeleton]:
    content = _json(file)
    if not isinstance(content, list):
        raise SemttaError(f"'{file}' is not a COCO results file: a list of detections is expected.")
    entries = []
    for i, item in enumerate(content):
        where = f"'{file}', entry {i}"
        if not isinstance(item, dict) or "image_id" not in item or "keypoints" not in item:
            raise SemttaError(f"{where}: 'image_id' and 'keypoints' are expected.")
        values = _numbers(item["keypoints"], where)
        if len(values) not in _COCO_NUMBERS:
            raise SemttaError(
                f"{where}: {len(values)} numbers, expected 51 (17 joints x, y, confidence)."
            )
        image, box = item["image_id"], item.get("box", item.get("bbox"))
        whole = isinstance(image, int) and not isinstance(image, bool)
        frame = image if whole else _frame_number(Path(str(image)).stem, where)
        person = item.get("idx", item.get("track_id"))
        entries.append(_entry(values[:51], where, frame, box, _identity(person, where)))
    named = sum(entry.person is not None for entry in entries)
    if 0 < named < len(entries):
        raise SemttaError(f"'{file}': only {named} of {len(entries)} entries have an 'idx'.")
    return entries, COCO17


def _identity(value, where: str) -> int | str | None:
    while isinstance(value, list) and len(value) == 1:  # AlphaPose nests it
        value = value[0]
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise SemttaError(f"{where}: 'idx' is {value!r}, expected a number.")


def _arrays(file: Path) -> tuple[list[_Entry], Skeleton]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            data = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise SemttaError(f"'{file}' cannot be read as .npz: {error}.") from None
    missing = [name for name in ("xy", "conf", "skeleton") if name not in data]
    if missing:
        raise SemttaError(f"'{file}' lacks {', '.join(missing)}; xy, conf, skeleton are expected.")
    bones = skeleton(str(data["skeleton"]))
    xy, conf = _floats(data["xy"], file, "xy"), _floats(data["conf"], file, "conf")
    count = len(xy) if xy.ndim else 0
    if xy.shape != (count, len(bones), 2) or conf.shape != (count, len(bones)):
        raise SemttaError(
            f"'{file}': xy {xy.shape} and conf {conf.shape} do not fit {bones.name}; expected "
            f"(T, {len(bones)}, 2) and (T, {len(bones)})."
        )
    frames = data.get("frames", np.arange(count))
    if frames.shape != (count,) or frames.dtype.kind not in "iu" or (np.diff(frames) <= 0).any():
        raise SemttaError(f"'{file}': 'frames' must be {count} increasing whole numbers.")
    boxes = data.get("boxes")
    if boxes is not None and boxes.shape != (count, 4):
        raise SemttaError(f"'{file}': 'boxes' is {boxes.shape}, expected ({count}, 4).")
    entries = []
    for t in range(count):
        where = f"'{file}', row {t}"
        values = np.concatenate([xy[t], conf[t][:, None]], 1).reshape(-1)
        entry = _entry(values, where, int(frames[t]), person=0)
        if boxes is not None:
            box = _check_box(_floats(boxes[t], file, "boxes"), where)
            entry = _Entry(where, entry.frame, entry.xy, entry.conf, box, 0)
        entries.append(entry)
    return entries, bones


def _floats(array: np.ndarray, file: Path, name: str) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise SemttaError(f"'{file}': '{name}' does not hold numbers.")
    return array.astype(np.float64)


def _json(file: Path):
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SemttaError(f"'{file}' cannot be read as JSON: {error}.") from None


def _frame_number(stem: str, where: str) -> int:
    """The last run of digits of a file name: clip2_000000000012_keypoints -> 12."""
    digits = re.findall(r"\d+", stem.removesuffix("_keypoints"))
    if not digits:
        raise SemttaError(f"{where}: no frame number in the name '{stem}'.")
    return int(digits[-1])


def _numbers(values, where: str) -> np.ndarray:
    try:
        array = np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise SemttaError(f"{where}: keypoints are not numbers.") from None
    return array


def _entry(values: np.ndarray, where: str, frame: int, box=None, person=None) -> _Entry:
    if not np.isfinite(values).all():
        raise SemttaError(f"{where}: NaN or infinite numbers; mark missing joints by confidence 0.")
    points = values.reshape(-1, 3)
    xy, conf = points[:, :2], points[:, 2]
    if conf.min() < -_OVERSHOOT or conf.max() > 1 + _OVERSHOOT:
        raise SemttaError(
            f"{where}: confidences from {conf.min():g} to {conf.max():g}; expected 0 to 1."
        )
    conf = np.clip(conf, 0, 1)
    if box is not None:  # COCO's x, y, width, height
        given = _numbers(box, where)
        if given.shape != (4,):
            raise SemttaError(f"{where}: a box has 4 numbers, this one {len(given)}.")
        corners = _check_box(np.concatenate([given[:2], given[:2] + given[2:]]), where)
    else:
        corners = _box_around(xy, conf)
    return _Entry(where, frame, xy, conf, corners, person)


def _check_box(box: np.ndarray, where: str) -> np.ndarray:
    if not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        raise SemttaError(f"{where}: the box {box.tolist()} is empty or not finite.")
    return box


def _box_around(xy: np.ndarray, conf: np.ndarray) -> np.ndarray:
    seen = xy[conf > 0] if (conf > 0).any() else np.zeros((1, 2))
    low, high = seen.min(0), seen.max(0)
    margin = _BOX_MARGIN * max(float((high - low).max()), 10.0)
    return np.concatenate([low - margin, high + margin])


def _check_frames(entries: list[_Entry], info: VideoInfo, times: torch.Tensor | None) -> None:
    count = len(times) if times is not None else info.frames
    for entry in entries:
        if entry.frame < 0 or (count is not None and entry.frame >= count):
            hint = "; frames count from 0" if entry.frame == count else ""
            raise SemttaError(
                f"{entry.where}: frame {entry.frame} lies outside the video '{info.path}' of "
                f"{count} frames{hint}."
            )


def _by_name(entries: list[_Entry]) -> list[list[_Entry]]:
    people: dict[int | str, dict[int, _Entry]] = {}
    for entry in entries:
        person = people.setdefault(entry.person, {})
        if entry.frame in person:
            raise SemttaError(
                f"{entry.where}: person {entry.person} appears twice in frame {entry.frame}."
            )
        person[entry.frame] = entry
    return [[person[frame] for frame in sorted(person)] for person in people.values()]


def _by_tracking(entries: list[_Entry], info: VideoInfo) -> list[list[_Entry]]:
    frames: dict[int, list[_Entry]] = {}
    for entry in entries:
        frames.setdefault(entry.frame, []).append(entry)
    order = sorted(frames)
    detections, lookup = [], []
    for frame in order:
        group = frames[frame]
        people = Detections(
            boxes=np.stack([entry.box for entry in group]),
            scores=np.array([entry.conf.mean() for entry in group]),
            xy=np.stack([entry.xy for entry in group]),
            conf=np.stack([entry.conf for entry in group]),
        )
        detections.append(suppress_duplicates(people))
        lookup.append(group)
    chains = link(detections, [frame / info.fps for frame in order], start_score=0.0)
    people = []
    for chain in chains:
        person = []
        for t, n in zip(chain.frames, chain.picks):
            xy = detections[t].xy[n]
            person.append(next(e for e in lookup[t] if np.array_equal(e.xy, xy)))
        people.append(person)
    return people


def _track(
    number: int, person: list[_Entry], bones: Skeleton, info: VideoInfo, times: torch.Tensor | None
) -> Track:
    frames = torch.tensor([entry.frame for entry in person])
    seconds = frames.double() / info.fps if times is None else times.double()[frames]
    return Track(
        id=number,
        frames=frames,
        times=seconds,
        boxes=torch.tensor(np.stack([entry.box for entry in person])).float(),
        keypoints=Keypoints2D(
            torch.tensor(np.stack([entry.xy for entry in person])).float(),
            torch.tensor(np.stack([entry.conf for entry in person])).float(),
            bones,
        ),
    )
