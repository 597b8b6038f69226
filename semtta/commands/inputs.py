"""``semtta inputs``: what a file of 2D poses is taken for; and the options that say otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.markup import escape

from semtta.errors import SemttaError
from semtta.messages import out

if TYPE_CHECKING:  # everything heavy is imported when a command runs
    from semtta.people.poses2d import Found, Poses2DOptions

Poses2D = Annotated[
    Optional[Path], typer.Option(help="Your own 2D poses; `semtta inputs FILE` says how read.")
]
PosesFormat = Annotated[
    Optional[str], typer.Option("--poses2d-format", help="If it is recognised wrongly.")
]
PosesSize = Annotated[
    Optional[str],
    typer.Option(
        "--poses2d-size",
        help="Picture in which the points were found: WIDTHxHEIGHT; unit (0 to 1), signed (-1 to "
        "1). Default: the video's pixels.",
    ),
]
PosesFirst = Annotated[
    Optional[int],
    typer.Option("--poses2d-first", help="Number of the video's first frame in it: 0 or 1."),
]
PosesSkeleton = Annotated[
    Optional[str], typer.Option("--skeleton", help="Order of its joints, e.g. body25b, h36m17.")
]


def poses_options(
    poses2d: Path | None,
    format: str | None,
    skeleton: str | None,
    size: str | None,
    first: int | None,
) -> Poses2DOptions:
    """The options as one value; raises ``SemttaError`` for those of a file that is not given."""
    from semtta.people.poses2d import Poses2DOptions

    if poses2d is None and (format, skeleton, size, first) != (None,) * 4:
        raise SemttaError("--poses2d-format, --poses2d-size, --poses2d-first and --skeleton go "
                          "with --poses2d.")  # fmt: skip
    return Poses2DOptions(format, skeleton, size, first)


def inputs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="2D poses: a file or folder.")],
    video: Annotated[
        Optional[Path], typer.Option(help="The video they belong to: checked against it.")
    ] = None,
    poses2d_format: PosesFormat = None,
    poses2d_size: PosesSize = None,
    poses2d_first: PosesFirst = None,
    skeleton: PosesSkeleton = None,
) -> None:
    """Say what FILE is taken for: format, people, frames, skeleton, coverage."""
    from semtta.people.own_poses import inspect_poses2d

    options = poses_options(file, poses2d_format, skeleton, poses2d_size, poses2d_first)
    _print(inspect_poses2d(file, video, options), video)


def _print(found: Found, video: Path | None) -> None:
    bones = found.skeleton
    out.print(f"format    {found.format}: {found.title}", highlight=False)
    out.print(f"skeleton  {bones.name}, {len(bones)} joints", highlight=False)
    out.print(f"people    {len(found.tracks)}", highlight=False)
    for track in found.tracks[:20]:
        first, last = int(track.frames[0]), int(track.frames[-1])
        share = float((track.keypoints.conf > 0).float().mean())
        low, high = track.boxes[:, :2].amin(0).tolist(), track.boxes[:, 2:].amax(0).tolist()
        out.print(
            f"  track {track.id}: {len(track)} of the frames {first} to {last}, {share:.0%} of the "
            f"joints; x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f}",
            highlight=False,
        )
    if len(found.tracks) > 20:
        out.print(f"  and {len(found.tracks) - 20} more", highlight=False)
    for note in found.notes:
        out.print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False, soft_wrap=True)
    if video is None:
        out.print("Not checked against a video; --video FILE does.")
