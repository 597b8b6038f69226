"""How well free texts are understood: docs/training/phrases.yaml, read by the dictionary.

    python tools/measure_phrases.py --split dev --show
    python tools/measure_phrases.py            # the table of docs/training/phrases.md

The vocabulary is that of ``tools/training``, not the shipped file's; no motion is needed. MiniLM's
rows need the extra ``text``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from semtta.motion.dictionary import Dictionary  # noqa: E402
from semtta.motion.phrase_reader import Reading, chosen_encoder, load_encoder  # noqa: E402
from semtta.motion.text import TextEncoder  # noqa: E402
from tools.training.everyday import OTHERS, sayings  # noqa: E402
from tools.training.phrases import PHRASES, phrases  # noqa: E402

FILE = ROOT / "docs/training/phrases.yaml"
SPLITS = ("dev", "test", "foreign_dev", "foreign_test")


def vocabulary(reads: str, everyday: bool = True, others: bool = True) -> Dictionary:
    """The names and phrases without any motion: roots stand still.

    Args:
        reads: ``table`` or ``minilm``.
        everyday, others: whether these lists are part of it."""
    labels, text = tuple(PHRASES), TextEncoder.load()
    said = sayings if everyday else phrases
    pairs = [(phrase, i) for i, label in enumerate(labels) for phrase in said(label)]
    return Dictionary(
        labels=labels,
        phrases=tuple(phrase for phrase, _ in pairs),
        phrase_label=torch.tensor([i for _, i in pairs]),
        roots=torch.eye(3).expand(len(labels), 60, 3, 3),
        poses=torch.zeros(0, 30, 23, 3),
        pose_of=torch.full((len(labels),), -1),
        text=text,
        others=OTHERS if others else (),
        encoder=load_encoder(reads, text),
    )


def judge(dictionary: Dictionary, split: dict) -> Iterator[tuple[str, str, Reading]]:
    """What kind of text each of a split is and how its reading went: ``right``, ``wrong`` or
    ``refused``."""
    for text, names in split["one"].items():
        reading = dictionary.read(text)
        right = set(reading.names) <= set(names)
        yield "one", _verdict(right, reading), reading
    for text in split["none"]:
        reading = dictionary.read(text)
        yield "none", "wrong" if reading.is_known else "right", reading
    for text, parts in split["together"].items():
        reading = dictionary.read(text)
        fits = len(parts) == len(reading.names)
        right = fits and all(any(name in part for name in reading.names) for part in parts)
        yield "together", _verdict(right, reading), reading
    for text in split["in_turn"]:
        reading = dictionary.read(text)
        yield "in_turn", "right" if reading.kind == "in turn" else "wrong", reading


def _verdict(right: bool, reading: Reading) -> str:
    if not reading.is_known:
        return "refused"
    return "right" if right else "wrong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--split", choices=SPLITS, help="Default: all.")
    parser.add_argument("--show", action="store_true", help="List what is not right.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    splits = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    print("| encoder | phrases | split | one: right / wrong / refused | none refused | together | "
          "in turn |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for reads in ("table", "minilm") if chosen_encoder() == "minilm" else ("table",):
        for name, lists in (("plain", (False, False)), ("+ everyday", (True, False)),
                            ("+ everyday, others", (True, True))):  # fmt: skip
            dictionary = vocabulary(reads, *lists)
            for split in [args.split] if args.split else SPLITS:
                found = list(judge(dictionary, splits[split]))
                print(f"| {reads} | {name} | {split} | {_row(found)} |", flush=True)
                for kind, verdict, reading in found if args.show else ():
                    if verdict != "right":
                        said = " + ".join(reading.names)
                        print(f"    {kind}: {reading.text} -> {reading.kind} {said} "
                              f"{reading.nearness:.2f}")  # fmt: skip


def _row(found: list[tuple[str, str, Reading]]) -> str:
    count = Counter((kind, verdict) for kind, verdict, _ in found)
    total = Counter(kind for kind, _, _ in found)
    one = " / ".join(str(count["one", verdict]) for verdict in ("right", "wrong", "refused"))
    rest = [f"{count[k, 'right']} of {total[k]}" for k in ("none", "together", "in_turn")]
    return " | ".join([one, *rest])


if __name__ == "__main__":
    main()
