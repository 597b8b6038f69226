"""A result folder, read back: checked like any file of a stranger, then as good as new."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np
import roma
import torch
import yaml
from torch import Tensor

from semtta.body import Body, load_body
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D, Track
from semtta.output.files import is_result
from semtta.output.schema import HELDOUT, LARGEST, MOTION, SHAPES, TEXTS, WORLD, check_arrays
from semtta.reading import MEBI, read_json, read_npz, read_text, reading
from semtta.skeletons import SKELETONS, Skeleton
from semtta.tta.evidence import Evidence
from semtta.tta.heldout import HeldoutErrors
from semtta.tta.result import Motion, Result, World

_TRACK_FILE = re.compile(r"track-(\d{1,9})\.npz")


@dataclass(frozen=True, kw_only=True)
class SavedTrack(Result):
    """One track of a result folder.

    A file does not say which joints the body knew: ``evidence.known`` are those that were
    evidence at least once.

    Args:
        fps: nominal frame rate of the video.
    """

    fps: float


@dataclass(frozen=True)
class SavedResult:
    """A result folder.

    Args:
        folder: where it lies.
        video: name of the video's file, "" if unknown.
        body: name or path of the body, as in the settings; gender: of the shape space.
        body_sha256: of the body's file, None if the folder does not say.
        part: start and end of the part of the video that was adapted to, as ``cut_video`` takes
            them; None each where it has none.
        tracks: at least one, by id.
    """

    folder: Path
    video: str
    body: str
    gender: str
    body_sha256: str | None
    tracks: tuple[SavedTrack, ...]
    part: tuple[str | None, str | None]

    @property
    def video_sha256(self) -> str | None:
        """Of the video that the result was made from; None if the report does not say it."""
        made = self.tracks[0].provenance.get("video")
        said = made.get("sha256") if isinstance(made, dict) else None
        return said if isinstance(said, str) else None

    def track(self, id: int) -> SavedTrack:
        """One track; raises ``SemttaError`` naming those that exist."""
        for track in self.tracks:
            if track.track.id == id:
                return track
        known = ", ".join(str(track.track.id) for track in self.tracks)
        raise SemttaError(f"result '{self.folder}' has no track {id}; it has {known}.")

    def load_body(self, search: Path | None = None) -> Body:
        """The body that the result was made with: its betas mean nothing on another one.

        Args:
            search: folder of body files that is searched first.
        Raises ``SemttaError`` if its file is not found, or is another one."""
        name: str | Path = self.body
        try:
            with reading(name, "body"):
                if search is not None and name not in ("cc0", "smpl"):
                    here = search / PureWindowsPath(name).name  # understands both kinds of paths
                    name = here if here.is_file() else name
                body = load_body(name, gender=self.gender, search=search)
        except SemttaError as error:
            raise SemttaError(
                f"result '{self.folder}' needs the body that it was made with, '{self.body}' "
                f"({self.gender}; --body-models FOLDER): {error}"
            ) from None
        if self.body_sha256 not in (None, body.sha256):
            raise SemttaError(
                f"result '{self.folder}' was made with another file of body '{self.body}' (SHA-256 "
                f"{self.body_sha256[:12]}…, here {body.sha256[:12]}…), in which betas mean "
                "something else; --body-models FOLDER names where the right one lies."
            )
        return body


def load_result(folder: str | Path) -> SavedResult:
    """Read a folder that ``semtta adapt`` or ``semtta demo`` wrote.

    Raises ``SemttaError`` if it is none, or if a file in it is damaged."""
    folder = Path(folder)
    with reading(folder, "result"):
        if not folder.is_dir():
            wrong = "is a file, not a folder" if folder.exists() else "does not exist"
            raise SemttaError(f"result '{folder}' {wrong}.")
        found = [(m, path) for path in folder.iterdir() if (m := _TRACK_FILE.fullmatch(path.name))]
        if not is_result(folder) or not found:
            raise SemttaError(f"'{folder}' is not a result of `semtta adapt`: it has no "
                              "config.yaml and track-XX.npz.")  # fmt: skip
    body, gender = _body_name(folder / "config.yaml")
    report = _report(folder / "report.json")
    entries = {entry.get("track"): entry for entry in report["tracks"]}
    tracks: list[SavedTrack] = []
    for match, path in sorted(found, key=lambda pair: (int(pair[0][1]), pair[1])):
        track = _track(path, entries.get(int(match[1]), {}))
        if track.track.id != int(match[1]):
            raise SemttaError(
                f"result '{path}' holds track {track.track.id}: the file was renamed."
            )
        if tracks and tracks[-1].track.id == track.track.id:
            raise SemttaError(f"result '{folder}' has two files of track {track.track.id}.")
        tracks.append(track)
    made_with = [track.provenance.get("body") for track in tracks]
    said = [made.get("sha256") for made in made_with if isinstance(made, dict)]
    hashes = {sha256 for sha256 in said if isinstance(sha256, str)}
    if len(hashes) > 1:
        raise SemttaError(f"result '{folder}': report.json names several body files.")
    sha256 = next(iter(hashes), None)
    return SavedResult(
        folder, report["video"], body, gender, sha256, tuple(tracks), report["part"]
    )  # fmt: skip


def _body_name(path: Path) -> tuple[str, str]:
    """Name and gender of the body in the settings, the rest of which may be of another version."""
    text = read_text(path, "settings of the result", MEBI)
    with reading(path, "settings of the result"):
        settings = yaml.safe_load(text)
        body = settings.get("body") if isinstance(settings, dict) else None
        name, gender = (body.get(key) if isinstance(body, dict) else None
                        for key in ("name", "gender"))  # fmt: skip
    if not (isinstance(name, str) and isinstance(gender, str) and name.isprintable()):
        raise SemttaError(f"settings of the result '{path}' do not name a body (body.name, "
                          "body.gender).")  # fmt: skip
    return name, gender


def _report(path: Path) -> dict:
    """``video``, ``tracks`` and the part of the video in the report; a folder may have lost it."""
    if not path.exists():
        return {"video": "", "part": (None, None), "tracks": []}
    report = read_json(path, "report of the result")
    report = report if isinstance(report, dict) else {}
    video, tracks = report.get("video"), report.get("tracks")
    if not isinstance(video, str) or not isinstance(tracks, list):
        raise SemttaError(f"report of the result '{path}' has no video and tracks.")
    if not all(isinstance(t, dict) and isinstance(t.get("track"), int) for t in tracks):
        raise SemttaError(f"report of the result '{path}' has a track without a number.")
    part = report.get("range") or {}
    edges = tuple(part.get(name) if isinstance(part, dict) else None for name in ("start", "end"))
    if not all(edge is None or isinstance(edge, str) for edge in edges):
        raise SemttaError(f"report of the result '{path}' has a range that is none.")
    return {"video": video, "part": edges, "tracks": tracks}


def _track(path: Path, entry: dict) -> SavedTrack:
    """One track's file, and what the report adds to it."""
    arrays = read_npz(path, "result", SHAPES)
    with reading(path, "result"):
        for prefix in ("", "base_"):  # results of before the path was solved over the track
            if f"{prefix}trans" in arrays:
                arrays.setdefault(f"{prefix}trans_raw", arrays[f"{prefix}trans"].copy())
        check_arrays(arrays)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()
                   if name not in TEXTS}  # fmt: skip
        names = tuple(str(name) for name in arrays["landmark_names"])
        if len(set(names)) != len(names) or not all(name.isprintable() for name in names):
            raise ValueError("'landmark_names' are no names, or not unique")
        try:
            track, evidence = _seen(tensors, _skeleton(names))
        except SemttaError as error:
            raise ValueError(str(error)) from None
        history, made = entry.get("epochs"), entry.get("provenance")
        if not (isinstance(history, list) and all(isinstance(e, dict) for e in history)):
            history = []
        return SavedTrack(
            track=track,
            base=_motion(tensors, "base_"),
            adapted=_motion(tensors, ""),
            camera=Camera(float(arrays["focal"]), tuple(arrays["center"].tolist()), _origin(entry)),
            boxes=tensors["crops"],
            evidence=evidence,
            labels=[str(label) or None for label in arrays["labels"]],
            similarity=tensors.get("similarity"),
            gate_similarity=tensors.get("gate_similarity"),
            sigma=float(arrays["sigma"]) if "sigma" in arrays else None,
            history=history,
            provenance=made if isinstance(made, dict) else {},
            world=_world(arrays, entry.get("world")),
            base_share=_share(tensors),
            heldout=_heldout(tensors),
            fps=float(arrays["fps"]),
        )


def _origin(entry: dict) -> str:
    """Where the focal length came from, as the report says it."""
    camera = entry.get("camera")
    said = camera.get("focal_origin") if isinstance(camera, dict) else None
    return said if isinstance(said, str) and said.isprintable() else "as given"


def _share(tensors: dict[str, Tensor]) -> Tensor | None:
    """How much of the base is handed out."""
    share = tensors.get("base_share")
    if share is not None and not bool(((share >= 0) & (share <= 1)).all()):
        raise ValueError("'base_share' is no share")
    return share


def _heldout(tensors: dict[str, Tensor]) -> HeldoutErrors | None:
    """Base and adapted where the fit was shown nothing."""
    if not all(name in tensors for name in HELDOUT):
        return None
    base, adapted = tensors["heldout_base_px"], tensors["heldout_adapted_px"]
    negative = bool((base < 0).any() or (adapted < 0).any())
    if negative or not torch.equal(base.isnan(), adapted.isnan()):
        raise ValueError("'heldout_base_px' and 'heldout_adapted_px' do not belong together")
    return HeldoutErrors(base, adapted)


def _world(arrays: dict[str, np.ndarray], entry) -> World | None:
    """What the track's file says of the room, with the report's words."""
    if not any(name in arrays for name in WORLD):
        return None
    rotation, ground, confidence = (np.asarray(arrays.get(name, np.nan)) for name in WORLD)
    rotation = np.broadcast_to(rotation, (3, 3)).astype(np.float64)
    turned = np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3
    if not (turned and np.linalg.det(rotation) > 0):
        raise ValueError("'world_from_camera' is no rotation")
    if not (abs(ground) <= LARGEST and 0 < confidence <= 1):
        raise ValueError("'ground' or 'world_confidence' is no number of that kind")
    entry = entry if isinstance(entry, dict) else {}
    note, checks = entry.get("note"), entry.get("checks")
    return World(
        torch.from_numpy(rotation).float(), float(ground), float(confidence),
        checks if isinstance(checks, dict) else {}, note if isinstance(note, str) else "",
    )  # fmt: skip


def _skeleton(names: tuple[str, ...]) -> Skeleton:
    """The library's own of these joints, if there is one."""
    own = (skeleton for skeleton in SKELETONS.values() if skeleton.joints == names)
    return next(own, Skeleton("landmarks", names))


def _seen(tensors: dict[str, Tensor], skeleton: Skeleton) -> tuple[Track, Evidence]:
    """The track as it was detected, and the evidence after adaptation."""
    raw = Keypoints2D(tensors["detected_xy"], tensors["detected_conf"], skeleton)
    track = Track(
        int(tensors["track_id"]), tensors["frames"], tensors["times"], tensors["boxes"], raw
    )
    weight = tensors["evidence_weight"]
    present = weight > 0
    evidence = Evidence(
        xy=tensors["evidence_xy"], present=present, weight=weight,
        filled_in=tensors["filled_in_epoch"], known=present.any(0), raw=raw,
    )  # fmt: skip
    return track, evidence


def _motion(tensors: dict[str, Tensor], prefix: str) -> Motion:
    parts = {name: tensors[prefix + name] for name in MOTION}
    pose = torch.cat((parts.pop("global_orient"), parts.pop("body_pose")), 1)
    rotmats = roma.rotvec_to_rotmat(pose.double().unflatten(1, (24, 3))).float()
    return Motion(rotmats=rotmats, **parts)
