"""Several results of one video: read, checked, measured, written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semtta.engine import Progress, silent
from semtta.errors import printable
from semtta.files import check_folder, new_folder
from semtta.output.comparison.checks import bodies_agree, read_results, videos_agree
from semtta.output.comparison.numbers import person_numbers
from semtta.output.comparison.page import write_comparison
from semtta.output.comparison.people import match_people
from semtta.output.comparison.settings import differing_settings, settings_of
from semtta.output.comparison.truth import read_truth
from semtta.output.files import clean, save_json
from semtta.output.page.saved import find_video

JSON, PAGE = "compare.json", "compare.html"


def compare(
    results: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    video: Path | None = None,
    body_models: Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict:
    """Compare results of one video with the first of them.

    Args:
        results: two to eight folders that ``semtta adapt`` or ``semtta demo`` wrote.
        output: folder for compare.json and compare.html; None = nothing is written.
        video: that the results were made from, if it lies no longer beside them.
        body_models: folder of body files that is searched first.
        overwrite: replace an earlier comparison.
        progress: called with the stage "page", and with notes.
    Returns: what compare.json holds; ``docs/compare.md`` names every number.
    Raises: ``SemttaError`` if the results are damaged, of different videos or of different
        bodies, share no person, or if the output is taken; nothing is written then."""
    if output is not None:
        check_folder(Path(output), overwrite, is_comparison)
    saved, names = read_results(results)
    remarks = videos_agree(saved, names)
    body, more = bodies_agree(saved, names, body_models)
    people, unmatched = match_people(saved, names, body)
    remarks += more + unmatched
    differing = differing_settings([settings_of(result) for result in saved])
    truths = {name: truth for name, result in zip(names, saved)
              if (truth := read_truth(result.folder)) is not None}  # fmt: skip
    measured = []
    for person in people:
        numbers, said = person_numbers(person, names, body)
        measured.append(numbers)
        remarks += said
    data = _printable({
        "video": saved[0].video,
        "sha256": saved[0].video_sha256,
        "results": [{"name": name, "folder": str(result.folder)}
                    for name, result in zip(names, saved)],
        "remarks": remarks,
        "settings": {key: dict(zip(names, values)) for key, values in differing.items()},
        "truth": truths,
        "people": measured,
    })  # fmt: skip
    for text in remarks:
        progress("note", 0, None, {"text": text})
    if output is None:
        return data
    with new_folder(output, overwrite, is_comparison) as partial:
        save_json(partial / JSON, data)
        found = find_video(saved, video, progress)
        write_comparison(partial / PAGE, data, people, names, body, found, progress)
    return data


def _printable(value):
    """Texts come from strangers' files: neither a terminal nor an encoder may stumble over them."""
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else clean(value)


def is_comparison(folder: Path) -> bool:
    """Whether a folder holds a comparison and nothing else."""
    return {path.name for path in folder.iterdir()} == {JSON, PAGE}
