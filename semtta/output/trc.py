"""TRC: marker positions over time, for OpenSim, Pose2Sim and other analyses of movement."""

from __future__ import annotations

from pathlib import Path

import torch

from semtta.body import Body
from semtta.output.axes import y_up
from semtta.output.evenly import evenly
from semtta.output.load import SavedTrack
from semtta.skeletons import HALPE26, Skeleton

# Pose2Sim's names of HALPE_26, in its order; the body has no top of the head ("Head").
_LEG = {"hip": "Hip", "knee": "Knee", "ankle": "Ankle", "big_toe": "BigToe",
        "small_toe": "SmallToe", "heel": "Heel"}  # fmt: skip
_ARM = {"shoulder": "Shoulder", "elbow": "Elbow", "wrist": "Wrist"}
MARKERS = {
    "mid_hip": "Hip",
    **{f"{side}_{part}": side[0].upper() + name for side in ("right", "left")
       for part, name in _LEG.items()},
    "neck": "Neck", "nose": "Nose",
    **{f"{side}_{part}": side[0].upper() + name for side in ("right", "left")
       for part, name in _ARM.items()},
}  # fmt: skip


def write_trc(track: SavedTrack, path: Path, body: Body) -> None:
    """Landmarks of the adapted body: y up, metres, the video's rate; blank inside gaps.

    Every cell ends with a tab: OpenSim drops what is blank at the end of a line without one."""
    even = evenly(track)
    motion = even.motion
    known = body.has_landmarks(HALPE26)
    names = [n for n in MARKERS if known[HALPE26.index(n)]]
    points = body.landmarks(motion.rotmats, motion.betas, Skeleton("markers", tuple(names)))
    points = y_up(track.world).points(points + motion.trans[:, None])
    rate, count, first = f"{even.rate:.10g}", len(points), int(even.frames[0])
    header = {
        "DataRate": rate, "CameraRate": rate, "NumFrames": count, "NumMarkers": len(names),
        "Units": "m", "OrigDataRate": rate, "OrigDataStartFrame": first, "OrigNumFrames": count,
    }  # fmt: skip
    axes = (f"{axis}{k}" for k in range(1, len(names) + 1) for axis in "XYZ")
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\ttrack-{track.track.id:02d}.trc",
        "\t".join(header),
        "\t".join(map(str, header.values())),
        "Frame#\tTime\t" + "".join(f"{MARKERS[name]}\t\t\t" for name in names),
        "\t\t" + "".join(f"{axis}\t" for axis in axes),
        "",
    ]
    blank, cells = "\t" * 3 * len(names), "%.6f\t" * 3 * len(names)
    rows = torch.flatten(points, 1).tolist()
    times = zip(even.frames.tolist(), even.times.tolist(), even.seen.tolist())
    for row, (frame, time, seen) in zip(rows, times):
        lines.append(f"{frame}\t{time:.6f}\t" + (cells % tuple(row) if seen else blank))
    path.write_text("\n".join(lines) + "\n", encoding="ascii", newline="\n")
