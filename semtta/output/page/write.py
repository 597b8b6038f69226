"""The page: template, style and scripts of ``semtta/assets/page``, and the data of a result.

Nothing in it can be made to run by a label or a file name: texts lie in a JSON block without any
``<``, the scripts set them as text, and the page's own policy lets only its own scripts run (by
their hashes) and forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from torch import Tensor

import semtta
from semtta.body import Body
from semtta.engine import Progress, silent
from semtta.errors import SemttaError, printable
from semtta.files import whole_file
from semtta.output.files import clean
from semtta.output.page.clip import Clip, small_clip
from semtta.output.page.data import all_times, body_data, track_data
from semtta.output.skinned import median_betas, skinned_mesh
from semtta.shipped import asset
from semtta.tta.result import Result
from semtta.video import VideoSource

_SCRIPTS = ("scene.js", "timeline.js", "tables.js", "page.js")
_MOTIONS = (
    {"key": "base", "name": "base", "color": "--base", "shown": True},
    {"key": "adapted", "name": "adapted", "color": "--adapted", "shown": True},
)


def write_page(
    path: Path,
    results: Sequence[Result],
    body: Body,
    *,
    title: str,
    fps: float,
    video: VideoSource | None = None,
    heldout: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    progress: Progress = silent,
) -> Path:
    """Write results of one video as a page, whole or not at all.

    Args:
        path: target, ``result.html``.
        results: one per track, fresh or loaded.
        body: that their betas belong to, on the CPU.
        title: heading, usually the video's name.
        fps: nominal frame rate of the video.
        video: that the frame numbers belong to; None = the page has none, and says so.
        heldout: by track id, 2D errors of base and adapted motion, each (T,) pixels, on joints
            that the adaptation was not shown; NaN where there are none.

    Raises ``SemttaError`` if there is no result, a motion is not finite, the video ends before the
    tracks do or cannot be read, or the file cannot be written."""
    if not results:
        raise SemttaError("a page needs at least one track; the result holds none.")
    clip = clip_of(results, fps, video, progress)
    words = _subtitle(results, clip, fps)
    data = page_data(results, body, clip, fps, title, words, has_video=video is not None)
    data["motions"] = _MOTIONS
    data["tracks"] = [
        track_data(result, body, (heldout or {}).get(result.track.id)) for result in results
    ]
    return save_page(path, data, clip)


def clip_of(
    results: Sequence[Result], fps: float, video: VideoSource | None,
    progress: Progress,
) -> Clip:  # fmt: skip
    """The video of some results as a page holds it, or what is known of it without.

    Raises ``SemttaError`` if it cannot be read, or ends before the tracks do."""
    clip = _no_clip(results, fps) if video is None else small_clip(video, progress)
    last = max(int(result.track.frames[-1]) for result in results)
    if last >= len(clip.times):
        raise SemttaError(
            f"'{video}' has {len(clip.times)} frames, but the result speaks of frame {last}: it is "
            "not the video of this result."
        )
    return clip


def page_data(
    results: Sequence[Result], body: Body, clip: Clip, fps: float, title: str, subtitle: str,
    has_video: bool,
) -> dict:  # fmt: skip
    """What every page holds; ``motions``, what can be shown, and ``tracks`` are to be added."""
    return {
        "title": printable(title),
        "subtitle": subtitle,
        "footer": f"semtta {semtta.__version__} · drawn with three.js (MIT) · no request leaves "
        "this page",
        "no_video": "No encoder for a video that browsers play (libx264) is installed."
        if has_video
        else "The video is not in this page.",
        "fps": fps,
        "times": clip.times,
        "begin": clip.begin,
        "picture": {"width": clip.width, "height": clip.height},
        "first": int(results[0].track.frames[0]),
        "body": body_data(skinned_mesh(body, median_betas(results[0].adapted))),
    }


def save_page(path: Path, data: dict, clip: Clip) -> Path:
    """Write a page, whole or not at all."""
    text = page_text(data, clip.mp4)
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(text.encode())
    return Path(path)


def page_text(data: dict, mp4: bytes) -> str:
    """The whole HTML document."""
    style = _shipped("page.css")
    three = _shipped("three.min.js")
    script = '"use strict";\n' + "\n".join(_shipped(name) for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; script-src {_hash(three)} {_hash(script)}; "
        f"style-src {_hash(chr(10) + style + chr(10))}; media-src blob:; base-uri 'none'; "
        "form-action 'none'"
    )
    return Template(_shipped("page.html")).substitute(
        csp=html.escape(policy, quote=False),
        title=html.escape(data["title"]),
        style=style,
        data=_json(data),
        clip=base64.b64encode(mp4).decode(),
        three=three,
        script=script,
    )


def _shipped(name: str) -> str:
    return asset(f"page/{name}").read_text(encoding="utf-8").strip()


def _json(data: dict) -> str:
    """JSON that no HTML parser takes for anything else: without <, > and &."""
    text = json.dumps(clean(data), separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _no_clip(results: Sequence[Result], fps: float) -> Clip:
    """Frames and picture of a video that is not there: the principal point is its middle."""
    x, y = results[0].camera.center
    return Clip(b"", all_times(results, fps), max(2, round(2 * x)), max(2, round(2 * y)))


def _subtitle(results: Sequence[Result], clip: Clip, fps: float) -> str:
    made = results[0].provenance
    words = [f"{len(clip.times) - clip.begin} frames, {fps:.4g} fps"]
    if clip.begin:
        words.append(f"frames {clip.begin} to {len(clip.times) - 1} of the video")
    if clip.mp4:
        words.append(f"{clip.width} × {clip.height}")
    for part in ("model", "body"):
        entry = made.get(part)
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str):
            words.append(f"{part} {printable(name)}")
    return " · ".join(words)
