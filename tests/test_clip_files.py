"""Files that are no text tower of CLIP are refused in one sentence."""

from __future__ import annotations

import pytest
import torch
from test_clip_text import files, hugging_face_names, random_state, write_safetensors

from semtta.errors import SemttaError
from semtta.motion.clip_text import load_clip_text

__all__ = ["files"]  # the fixture


@pytest.mark.parametrize("missing, message", [
    ("text_projection.weight", "text projection"),
    ("text_model.encoder.layers.1.self_attn.k_proj.weight", "lacks 'transformer.resblocks.1.attn"),
])  # fmt: skip
def test_a_tower_in_other_names_is_refused_as_well(files, tmp_path, missing, message):
    state = hugging_face_names(random_state())
    del state[missing]
    torch.save(state, tmp_path / "clip.bin")
    with pytest.raises(SemttaError, match=message):
        load_clip_text(tmp_path / "clip.bin", files / "bpe.txt.gz")


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("ln_final.bias"), "lacks 'ln_final.bias'"),
    (lambda s: s.pop("text_projection"), "text projection"),
    (lambda s: s.update({"transformer.extra": torch.ones(1)}), "unknown tensor"),
    (lambda s: s["ln_final.bias"].fill_(float("nan")), "not finite"),
    (lambda s: s.update({"ln_final.bias": torch.ones(3)}), r"is \(3,\), not \(128,\)"),
    (lambda s: s.update({"text_projection": torch.ones(3)}), "lacks embeddings"),
    (lambda s: s.update({"token_embedding.weight": torch.ones(3)}), "lacks embeddings"),
    (lambda s: s.update({"positional_embedding": torch.tensor(1.0)}), "lacks embeddings"),
    (lambda s: s.update({"token_embedding.weight": torch.ones(520, 96)}), "of width 96"),
    (lambda s: [s.pop(key) for key in list(s) if "resblocks" in key], "has 0 transformer blocks"),
    (lambda s: s.update({f"transformer.resblocks.{i}.x": torch.ones(1) for i in range(65)}),
     "has 65 transformer blocks"),
    (lambda s: s.update({f"transformer.resblocks.{i}.x": torch.ones(1) for i in range(64)}),
     "it lacks"),
])  # fmt: skip
def test_wrong_tower_is_refused(files, tmp_path, change, message):
    state = random_state()
    change(state)
    torch.save(state, tmp_path / "clip.pt")
    with pytest.raises(SemttaError, match=message):
        load_clip_text(tmp_path / "clip.pt", files / "bpe.txt.gz")


def test_damaged_files_are_refused(files, tmp_path):
    for name in ("ViT-B-32.pt", "open_clip.pt", "open_clip.safetensors"):
        data = (files / name).read_bytes()
        cut = tmp_path / name
        for content in (data[: len(data) // 2], data[:7], b"", b"\xff" * 100):
            cut.write_bytes(content)
            with pytest.raises(SemttaError, match="damaged or not"):
                load_clip_text(cut, files / "bpe.txt.gz")
    with pytest.raises(SemttaError, match="there is no file"):
        load_clip_text(tmp_path / "none.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SemttaError, match="has none of model.safetensors"):
        load_clip_text(tmp_path / "empty")


def test_other_activation_or_vocabulary_is_refused(files, tmp_path):
    for layout in ("open_clip.pt", "bare"):
        with pytest.raises(SemttaError, match="does not fit a vocabulary of 49408"):
            load_clip_text(files / layout)
    (tmp_path / "config.json").write_text('{"hidden_act": "gelu"}')
    write_safetensors(tmp_path / "model.safetensors", hugging_face_names(random_state()))
    with pytest.raises(SemttaError, match="the activation 'gelu', but .* quick_gelu"):
        load_clip_text(tmp_path, files / "bpe.txt.gz")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(SemttaError, match="CLIP's configuration '.*' cannot be read"):
        load_clip_text(tmp_path, files / "bpe.txt.gz")
