"""What of a data set is on disk and what is missing, before anything runs."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from semtta.bench.datasets import DataSet, get_dataset
from semtta.bench.datasets.regressors import USER_KEYS, find_regressor, open_regressor
from semtta.bench.protocols import PROTOCOLS, Protocol, get_protocol
from semtta.body import find_body_file, load_body
from semtta.body.regressor import H36M17_RIGHT_LEG_FIRST
from semtta.doctor import Finding
from semtta.doctor import table as findings_table
from semtta.errors import SemttaError
from semtta.reading import reading
from semtta.user_files import USER_FILES


def check(
    data: str, root: Path, body_models: Path | None = None, protocol: str | None = None
) -> list[Finding]:
    """Everything that a benchmark on a data set needs.

    Args:
        data: 3dpw, 3dhp, egobody or emdb.
        root: its folder.
        body_models: folder searched first for bodies and regressors.
        protocol: by name, None = the usual one.
    Returns: findings whose state is "ok", "missing" (needed by the protocol) or "optional" (by
        another one). Raises ``SemttaError`` for an unknown data set or protocol only."""
    dataset, rules = get_dataset(data), get_protocol(protocol, data)
    root = Path(root)
    if root.is_dir():
        found = [part for split in rules.splits for part in _findings(dataset, root, split)]
    else:
        found = [Finding("folder", "missing", f"there is no folder '{root}'")]
    genders = dataset.genders if rules.truth == "gendered" else ()
    for gender in ("neutral", "female", "male"):
        needed = gender == "neutral" or gender in genders
        found.append(_body(gender, needed, body_models))
    kinds = {p.regressor for p in PROTOCOLS.values() if p.data == data} - {"smpl24"}
    return found + [_regressor(kind, rules, body_models) for kind in sorted(kinds)]


def check_table(
    data: str, root: Path, body_models: Path | None = None, protocol: str | None = None
) -> tuple[Table, bool]:
    """:func:`check` as a table, and whether nothing that is needed is missing."""
    found = check(data, root, body_models, protocol)
    table = findings_table(found)
    table.title = f"{get_dataset(data).title}, protocol {get_protocol(protocol, data).name}"
    return table, all(finding.state != "missing" for finding in found)


def _findings(dataset: DataSet, root: Path, split: str) -> list[Finding]:
    try:
        with reading(root, dataset.title):
            return dataset.findings(root, split)
    except SemttaError as error:
        return [Finding(f"{split}: annotations", "missing", str(error))]


def _body(gender: str, needed: bool, body_models: Path | None) -> Finding:
    path = find_body_file(gender, body_models)
    absent = "missing" if needed else "optional"
    if path is not None:
        try:
            load_body("smpl", gender=gender, search=body_models)
        except SemttaError as error:
            return Finding(f"SMPL {gender}", absent, str(error))
        return Finding(f"SMPL {gender}", "ok", str(path))
    detail = "into body_models/smpl/; licence and download: smpl.is.tue.mpg.de"
    return Finding(f"SMPL {gender}", absent, detail)


def _regressor(kind: str, rules: Protocol, body_models: Path | None) -> Finding:
    file = USER_FILES[USER_KEYS[kind]]
    absent = "missing" if rules.regressor == kind else "optional"
    path = find_regressor(kind, body_models)
    if path is None:
        return Finding(
            file.key, absent, f"{' or '.join(file.names)} into body_models/; {file.page}"
        )
    if find_body_file("neutral", body_models) is None:
        return Finding(file.key, "ok", f"{path}; left and right unchecked without the neutral body")
    try:
        body = load_body("smpl", search=body_models)
        skeleton = open_regressor(kind, path, body).skeleton
    except SemttaError as error:
        return Finding(file.key, absent, str(error))
    order = ", right leg first" if skeleton == H36M17_RIGHT_LEG_FIRST else ""
    return Finding(file.key, "ok", f"{path}: {len(skeleton)} joints{order}; left and right agree")
