"""What every reader of another program's result makes of its file, whatever its layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from semtta.errors import SemttaError
from semtta.geometry import Camera, full_translation
from semtta.hmr.results.content import Content
from semtta.keypoints import Keypoints2D

# Where the pelvis lies in the rest pose of mean shape, metres: neutral SMPL and SMPL-X.
SMPL_REST = (-0.0018, -0.2233, 0.0282)
SMPLX_REST = (0.0031, -0.3514, 0.0120)


@dataclass(frozen=True)
class WorldMotion:
    """The same motion in the file's own world. ``trans`` is of the body that the file has.

    Args:
        orient: (T, 3, 3) global orientations.
        trans: (T, 3) metres.
        up: the world's axis that points up, "y" or "z"; "" where the program does not say.
    """

    orient: Tensor
    trans: Tensor
    up: str = ""


@dataclass(frozen=True)
class ResultTrack:
    """One person of a result file, over T frames.

    Args:
        id: from 1, in the file's order; the number in the name of an own track.
        frames: (T,) int64 frames of the video, strictly increasing, gaps allowed.
        rotmats: (T, 24, 3, 3) SMPL rotations, global orientation first, camera axes (x right, y
            down, z forward). Hands are at rest where the file has none.
        betas: (T, 10), of SMPL-X where ``smplx``: see :meth:`shape`.
        trans: (T, 3) metres, camera frame, to be added to the body that the file has; None where
            it has a weak perspective only (``cam``) or no camera at all.
        focal: (T,) pixels; center: (T, 2) pixels. Each None where the file does not say it.
        boxes: (T, 4) x0 y0 x1 y1, pixels.
        keypoints: detections of T frames that the file holds beside its result.
        cam, crops: (T, 3) weak perspective s, tx, ty in square crops: centre x, y, side, pixels.
        world: the motion in the file's world.
        rest: (3,) metres, the pelvis of the file's body in its rest pose, of mean shape.
        smplx: whether the file's body is SMPL-X: 21 body joints, other betas.
        key: how the file calls the person, for :func:`semtta.hmr.results.as_same`.
    """

    id: int
    frames: Tensor
    rotmats: Tensor
    betas: Tensor
    trans: Tensor | None = None
    focal: Tensor | None = None
    center: Tensor | None = None
    boxes: Tensor | None = None
    keypoints: Keypoints2D | None = None
    cam: Tensor | None = None
    crops: Tensor | None = None
    world: WorldMotion | None = None
    rest: tuple[float, float, float] = SMPL_REST
    smplx: bool = False
    key: object = None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def intrinsics(self) -> Tensor | None:
        """(T, 3, 3) matrices K, pixels; None unless the file has focal length and centre."""
        if self.focal is None or self.center is None:
            return None
        found = torch.eye(3).repeat(len(self), 1, 1)
        found[:, 0, 0] = found[:, 1, 1] = self.focal
        found[:, :2, 2] = self.center
        return found

    def camera(self, width: int, height: int) -> Camera | None:
        """One camera for the track: the file's median focal length, the middle of the picture
        where the file has no centre. None if it has no focal length."""
        if self.focal is None:
            return None
        center = ((width - 1) / 2, (height - 1) / 2) if self.center is None else (
            tuple(self.center.contiguous().median(0).values.tolist())
        )  # fmt: skip
        several = len(self.focal.unique()) > 1
        origin = "as the result says" + several * ", the median of its frames'"
        return Camera(float(self.focal.contiguous().median()), center, origin)

    def shape(self, smplx_as_smpl: bool = False) -> Tensor:
        """(T, 10) betas for a body of SMPL: zeros for those of SMPL-X, which mean something else.

        Args:
            smplx_as_smpl: take SMPL-X's as they are."""
        return torch.zeros_like(self.betas) if self.smplx and not smplx_as_smpl else self.betas

    def translation(self, camera: Camera) -> Tensor | None:
        """(T, 3) metres: ``trans``, or what the weak perspective is before a camera; None where
        the file has neither."""
        if self.trans is not None or self.cam is None or self.crops is None:
            return self.trans
        return full_translation(self.cam, self.crops, camera)

    def pelvis(self, camera: Camera) -> Tensor | None:
        """(T, 3) metres, where the pelvis is in the camera frame, whatever body shows the motion;
        up to two centimetres that the betas move it by."""
        trans = self.translation(camera)
        return None if trans is None else trans + torch.tensor(self.rest)

    def trans_for(self, rest: Tensor, camera: Camera) -> Tensor | None:
        """(T, 3) metres to be added to another body, so that its pelvis is where the file's is.

        Args:
            rest: (3,) or (T, 3) metres, that body's pelvis in its rest pose.
            camera: for files with a weak perspective."""
        pelvis = self.pelvis(camera)
        return None if pelvis is None else pelvis - rest

    def trans_from(self, trans: Tensor, rest: Tensor) -> Tensor:
        """The way back: (T, 3) for the file's body of (T, 3) for another one."""
        return trans + rest - torch.tensor(self.rest)


@dataclass(frozen=True)
class ResultFile:
    """What was read.

    Args:
        path: of the file, or of a folder of own tracks.
        tracks: at least one.
        sha256: of the file; of a folder, of its first track's.
        remarks: sentences: what was guessed or left out.
        format: a name of ``semtta.hmr.results.FORMATS``; title: the same in words.
        content: the file as it was, for :func:`semtta.hmr.results.as_same`; None of a folder.
        fps: frames a second, where the file says it.
        size: width and height of the picture that its pixels belong to, where that follows.
        covers: number of frames of the whole video, where the file has a row for each.
    """

    path: Path
    tracks: tuple[ResultTrack, ...]
    sha256: str = ""
    remarks: tuple[str, ...] = ()
    format: str = ""
    title: str = ""
    content: Content | None = field(default=None, repr=False)
    fps: float | None = None
    size: tuple[float, float] | None = None
    covers: int | None = None

    def track(self, id: int | None = None) -> ResultTrack:
        """One person; raises ``SemttaError`` naming those that there are.

        Args:
            id: None = the only one."""
        if id is None and len(self.tracks) == 1:
            return self.tracks[0]
        for track in self.tracks:
            if track.id == id:
                return track
        known = ", ".join(f"{t.id} ({len(t)} frames)" for t in self.tracks[:12])
        which = f"has no person {id}" if id is not None else "holds several people"
        raise SemttaError(f"result '{self.path}' {which}; it has {known}: name one by --track.")


@dataclass(frozen=True)
class Found:
    """What a reader found; see :class:`ResultFile`."""

    tracks: tuple[ResultTrack, ...]
    fps: float | None = None
    size: tuple[float, float] | None = None
    covers: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refined:
    """A track's motion after refinement; T as in the track that was read.

    Args:
        rotmats: (T, 24, 3, 3) camera axes.
        betas: (T, 10) of the file's own body; None = those of the file stay.
        trans: (T, 3) metres, to be added to the file's own body; None = that of the file stays.
        camera: that ``trans`` was found before; files with a weak perspective need it.
        rest_moved: (T, 3) metres, how far other betas move the pelvis of the rest pose.
    """

    rotmats: Tensor
    betas: Tensor | None = None
    trans: Tensor | None = None
    camera: Camera | None = None
    rest_moved: Tensor | None = None
