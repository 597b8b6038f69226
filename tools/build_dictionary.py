"""Make the shipped dictionary of action names: phrases, exemplar roots and generated poses.

    python tools/build_dictionary.py --motions motion_lite_30fps.npz

The exemplar root is that of the medoid of a name's recorded training windows (procedural ones
where there are none); of recordings only this global rotation is written, never the motion.
Local poses are the medoid of procedural performances; a name without a procedural action gets
none, unless another one's is the same movement.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from semtta.files import whole_file
from tools.training import procedural  # noqa: E402
from tools.training.everyday import OTHERS, sayings  # noqa: E402
from tools.training.motions import (  # noqa: E402
    load_clips,
    mirror,
    mirror_text,
    remove_yaw,
    windows,
)
from tools.training.phrases import PHRASES  # noqa: E402

LENGTH = 60
PERFORMANCES = 9  # of which the medoid is taken
# Names whose movement is that of another name's procedural action.
SAME_MOVEMENT = {
    "kick": "kick with the right leg",
    "kick a soccer ball": "kick with the right leg",
    "cheer with arms raised": "raise both arms",
}


def performances(label: str, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Procedural motions (60, 24, 3, 3) of a label or its mirror image, none if there are none."""
    if label in procedural.ACTIONS:
        return [procedural.sample(label, rng) for _ in range(count)]
    if mirror_text(label) in procedural.ACTIONS:
        return [mirror(procedural.sample(mirror_text(label), rng)) for _ in range(count)]
    return []


def generated_poses(labels: list[str], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(M, 30, 23, 3) axis-angle at 15 fps without the root, and each label's row or -1 (L,)."""
    poses, rows = [], []
    for label in labels:
        found = performances(SAME_MOVEMENT.get(label, label), rng, PERFORMANCES)
        rows.append(len(poses) if found else -1)
        if found:
            motion = medoid(np.stack(found)[:, ::2, 1:])
            poses.append(Rotation.from_matrix(motion.reshape(-1, 3, 3)).as_rotvec())
    return np.stack(poses).reshape(len(poses), -1, 23, 3), np.array(rows)


def candidate_roots(label: str, clips, rng: np.random.Generator) -> np.ndarray:
    """(K, 60, 3, 3) yaw-free roots of windows that show the action."""
    found = [clip.rotmats[w] for clip in clips if clip.label == label
             for w in windows(clip, LENGTH, 30)]  # fmt: skip
    if not found:
        found = performances(label, rng, 8)
    if not found:
        raise SystemExit(f"no motion for the label '{label}'.")
    chosen = rng.permutation(len(found))[:40]
    return remove_yaw(np.stack([found[i] for i in chosen]))[:, :, 0]


def medoid(rotmats: np.ndarray) -> np.ndarray:
    """The one of (K, ..., 3, 3) with the smallest summed chordal distance to the others."""
    flat = rotmats.reshape(len(rotmats), -1)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    return rotmats[distance.sum(1).argmin()]


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
    poses, pose_of = generated_poses(labels, np.random.default_rng(args.seed))
    texts = [(phrase, i) for i, label in enumerate(labels) for phrase in sayings(label)]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        labels=np.array(labels),
        phrases=np.array([text for text, _ in texts]),
        phrase_label=np.array([i for _, i in texts], dtype=np.int16),
        others=np.array(OTHERS),
        roots=rotvec.astype(np.float16),
        poses=poses.astype(np.float16),
        pose_of=pose_of.astype(np.int16),
    )
    with whole_file(args.out) as temporary:
        temporary.write_bytes(buffer.getvalue())
    print(
        f"{args.out}: {len(labels)} labels, {len(poses)} with poses, {len(texts)} phrases, "
        f"{len(buffer.getvalue())} bytes"
    )


if __name__ == "__main__":
    main()
