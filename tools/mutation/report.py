"""What a mutation run found: a table per module, an interval of the total, the survivors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf

Reasons = Mapping[tuple[str, str, str], str]


def read_reasons(path: Path) -> Reasons:
    """(module, code, change) -> why nobody could notice.

    ``code`` is the line as it stands, since numbers of lines move; ``change`` is
    "operator: before -> after".
    """
    if not path.exists():
        return {}
    entries = OmegaConf.to_container(OmegaConf.load(path)) or []
    return {(entry["module"], entry["code"], entry["change"]): entry["why"] for entry in entries}


def reason(row: Mapping, reasons: Reasons) -> str | None:
    change = f"{row['operator']}: {row['before']} -> {row['after']}"
    return reasons.get((row["module"], row["code"], change))


def wilson(successes: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (E. B. Wilson, JASA 1927); (0, 1) of nothing."""
    if not total:
        return 0.0, 1.0
    share = successes / total
    centre = share + z**2 / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return (centre - half) / scale, (centre + half) / scale


def report(results: Sequence[Mapping], reasons: Reasons) -> str:
    """The tables, the totals and the survivors as text."""
    rows = [row for row in results if row["status"] != "control"]
    controls = [row for row in results if row["status"] == "control"]
    lines = _table("module", rows) + [""] + _table("operator", rows) + [""]
    for row in rows:
        if row["status"] != "killed" and not reason(row, reasons):
            lines.append(f"{row['status']:9} {row['key']}")
    known = [row for row in rows if row["status"] != "killed" and reason(row, reasons)]
    killed = sum(row["status"] == "killed" for row in rows)
    wrong = sum(row["outcome"] == "killed" for row in controls)
    lines += [
        "",
        _share("killed of all", killed, len(rows)),
        _share("killed of those not equivalent", killed, len(rows) - len(known)),
        f"killed without a change (controls): {wrong} of {len(controls)}",
    ]
    return "\n".join(lines)


def _share(what: str, killed: int, total: int) -> str:
    low, high = wilson(killed, total)
    share = f"{killed / total:.1%}" if total else "-"
    return f"{what}: {killed} of {total}, {share} (95 %: {low:.1%} to {high:.1%})"


def _table(column: str, rows: Sequence[Mapping]) -> list[str]:
    total = Counter(row[column] for row in rows)
    killed = Counter(row[column] for row in rows if row["status"] == "killed")
    return [f"{name:40} {killed[name]:4} of {total[name]:4}" for name in sorted(total)]


def summary(results: Sequence[Mapping], reasons: Reasons, seed: int) -> dict:
    """The figures as JSON holds them; shares are of one, with 95 % intervals."""
    rows = [row for row in results if row["status"] != "control"]
    controls = [row for row in results if row["status"] == "control"]
    survivors = [row for row in rows if row["status"] != "killed"]
    known = [row for row in survivors if reason(row, reasons)]
    total, killed = len(rows), len(rows) - len(survivors)
    modules = sorted({row["module"] for row in rows})
    return {
        "seed": seed,
        "sampled": total,
        "killed": killed,
        "equivalent": len(known),
        "killed_share": killed / total,
        "killed_ci95": wilson(killed, total),
        "killed_share_not_equivalent": killed / (total - len(known)),
        "killed_not_equivalent_ci95": wilson(killed, total - len(known)),
        "controls": len(controls),
        "controls_killed": sum(row["outcome"] == "killed" for row in controls),
        "modules": {
            name: {
                "sampled": sum(row["module"] == name for row in rows),
                "survived": [
                    {"mutant": row["key"]} | ({"equivalent": why} if why else {})
                    for row in survivors
                    if row["module"] == name
                    for why in [reason(row, reasons)]
                ],
            }
            for name in modules
        },
    }
