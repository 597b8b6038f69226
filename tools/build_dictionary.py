"""Make the shipped dictionary of action names: phrases and one exemplar root per name.

    python tools/build_dictionary.py --motions motion_lite_30fps.npz

The exemplar is the medoid of a name's recorded training windows (procedural ones where there
are none); only its global rotation is written, never the motion.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.training import procedural  # noqa: E402
from tools.training.motions import (  # noqa: E402
    load_clips,
    mirror,
    mirror_text,
    remove_yaw,
    windows,
)
from tools.training.phrases import PHRASES, phrases  # noqa: E402

LENGTH = 60


def candidate_roots(label: str, clips, rng: np.random.Generator) -> np.ndarray:
    """(K, 60, 3, 3) yaw-free roots of windows that show the action."""
    found = [clip.rotmats[w] for clip in clips if clip.label == label
             for w in windows(clip, LENGTH, 30)]  # fmt: skip
    if not found and label in procedural.ACTIONS:
        found = [procedural.sample(label, rng) for _ in range(8)]
    if not found and mirror_text(label) in procedural.ACTIONS:
        found = [mirror(procedural.sample(mirror_text(label), rng)) for _ in range(8)]
    if not found:
        raise SystemExit(f"no motion for the label '{label}'.")
    chosen = rng.permutation(len(found))[:40]
    return remove_yaw(np.stack([found[i] for i in chosen]))[:, :, 0]


def medoid(roots: np.ndarray) -> np.ndarray:
    """The root (60, 3, 3) with the smallest summed chordal distance to the others."""
    flat = roots.reshape(len(roots), -1)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    return roots[distance.sum(1).argmin()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("semtta/assets/motion/dictionary.npz"))
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    clips = load_clips(args.motions, "train")
    labels = list(PHRASES)
    roots = np.stack([medoid(candidate_roots(label, clips, rng)) for label in labels])
    rotvec = Rotation.from_matrix(roots.reshape(-1, 3, 3)).as_rotvec().reshape(-1, LENGTH, 3)
    texts = [(phrase, i) for i, label in enumerate(labels) for phrase in phrases(label)]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        labels=np.array(labels),
        phrases=np.array([text for text, _ in texts]),
        phrase_label=np.array([i for _, i in texts], dtype=np.int16),
        roots=rotvec.astype(np.float16),
    )
    temporary = args.out.with_suffix(".tmp")
    temporary.write_bytes(buffer.getvalue())
    temporary.replace(args.out)
    print(f"{args.out}: {len(labels)} labels, {len(texts)} phrases, {len(buffer.getvalue())} bytes")


if __name__ == "__main__":
    main()
