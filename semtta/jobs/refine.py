"""What ``semtta refine`` does before it is an adaptation like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from semtta.body import Body
from semtta.config import Config
from semtta.engine import Progress
from semtta.errors import SemttaError
from semtta.hmr import RESULT
from semtta.hmr.result_base import check_places, in_picture, keeps_betas, refined_of
from semtta.hmr.results import ResultFile, as_same, check_writable, read_result
from semtta.output.files import is_result
from semtta.output.load import load_result
from semtta.tta.result import Result
from semtta.video import VideoInfo


def prepare_refinement(
    config: Config,
    path: Path,
    folder: Path,
    track: str | None = None,
    *,
    body: str | None = None,
    body_models: Path | None = None,
) -> tuple[Config, str, ResultFile]:
    """Settings and tracks of a refinement, once the result has been looked at.

    Args:
        config: settings.
        path: the result that is refined.
        folder: where the new one will be written.
        track: of the result, or ``all``; None = its only one.
        body: that the user named; None = the one that the result was made with, if it says so.
        body_models: folder of body files that is searched first.
    Returns: the settings, whom to adapt, and the result as it was read.
    Raises ``SemttaError`` if the result holds several people and nobody was chosen, would be
    written over, or belongs to another body."""
    result = read_result(path)
    check_places(result)
    own = path if path.is_dir() else path.parent
    if folder.exists() and folder.resolve() == own.resolve():
        raise SemttaError(
            f"'{folder}' holds the result that is refined; name another folder with -o."
        )
    config = replace(config, model=replace(config.model, name=RESULT, checkpoint=str(path)))
    if result.format == "own" and is_result(own):
        saved = load_result(own)
        if body is None:
            config = replace(
                config, body=replace(config.body, name=saved.body, gender=saved.gender)
            )
            saved.load_body(body_models)
        elif (body, config.body.gender) != (saved.body, saved.gender):
            raise SemttaError(
                f"result '{path}' was made with the body '{saved.body}' ({saved.gender}); its "
                "betas mean something else on another one: leave --body out."
            )
    return config, chosen_person(result, track), result


def chosen_person(result: ResultFile, track: str | None) -> str:
    """Whom of a result to adapt, as the Adapter says it.

    Raises ``SemttaError`` for an unknown person, and if several are there and none was chosen."""
    known = [str(base.id) for base in result.tracks]
    if track is None and len(known) > 1:
        raise SemttaError(
            f"result '{result.path}' holds {len(known)} people ({', '.join(known)}); choose one by "
            "--track, or --track all."
        )
    if track is not None and track not in (*known, "all", "largest"):
        raise SemttaError(f"result '{result.path}' has no track '{track}'; it has "
                          f"{', '.join(known)} (or: all, largest).")  # fmt: skip
    return track or known[0]


class SameLayout:
    """Writes a refined result once more, in the layout that it came in; given to ``adapt_video``.

    This library's own results are that already, and get no other file.

    Args:
        result: as it was read.
    Raises ``SemttaError`` if it cannot be written again."""

    def __init__(self, result: ResultFile):
        self.result = result
        if result.format != "own":
            check_writable(result)

    def __call__(
        self, folder: Path, results: list[Result], body: Body, info: VideoInfo, progress: Progress
    ) -> None:
        """Write it, under its own name unless that is taken; notes say what it does not show."""
        if self.result.format == "own":
            return
        shown = in_picture(self.result, info.width, info.height)
        refined, notes = {}, []
        for one in results:
            id, motion = one.track.id, one.adapted
            parts = (motion.rotmats, motion.betas, motion.trans)
            refined[id] = refined_of(
                self.result, shown, id, one.track.frames, parts, body, one.camera
            )
        if not all(keeps_betas(self.result, track, body) for track in self.result.tracks):
            notes.append("the file's betas mean something else to this body: they stay as they are "
                         "in it, and so does the median distance from the camera.")  # fmt: skip
        path = folder / self.result.path.name
        if path.exists() or path.name.startswith("track-"):  # or it would pass for one of ours
            path = folder / f"result-{path.name}"
            notes.append(f"the file is written again as {path.name}.")
        if info.cut is not None:
            notes.append("frames outside the part stay in the file as they were.")
        for text in (*notes, *as_same(self.result, refined, path)):
            progress("note", 0, None, {"text": text})
