"""CLIP's text side: token ids of the original, one tower from three file layouts."""

from __future__ import annotations

import gzip
import json
import struct

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from semtta.errors import SemttaError
from semtta.motion.clip_bpe import ClipBPE
from semtta.motion.clip_text import ClipTextTower, load_clip_text

MERGES = [("w", "a"), ("l", "k"), ("wa", "lk"), ("walk", "i"), ("n", "g</w>"), ("walki", "ng</w>")]
WIDTH, LAYERS, DIM, CONTEXT = 128, 2, 32, 20


# ------------------------------------------------------------------ files


def random_state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    tower = ClipTextTower(512 + len(MERGES) + 2, CONTEXT, WIDTH, LAYERS, DIM)
    return {key: torch.randn(value.shape, generator=generator) * 0.1
            for key, value in tower.state_dict().items()}  # fmt: skip


def hugging_face_names(state: dict) -> dict:
    layer = "text_model.encoder.layers."
    out = {"text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
           "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
           "text_model.final_layer_norm.weight": state["ln_final.weight"],
           "text_model.final_layer_norm.bias": state["ln_final.bias"],
           "text_projection.weight": state["text_projection"].T.contiguous(),
           "vision_model.pre_layrnorm.weight": torch.ones(3),
           "logit_scale": torch.tensor(4.6)}  # fmt: skip
    for i in range(LAYERS):
        for kind in ("weight", "bias"):
            own = f"transformer.resblocks.{i}."
            parts = state[f"{own}attn.in_proj_{kind}"].chunk(3)
            for name, part in zip("qkv", parts, strict=True):
                out[f"{layer}{i}.self_attn.{name}_proj.{kind}"] = part.contiguous()
            out[f"{layer}{i}.self_attn.out_proj.{kind}"] = state[f"{own}attn.out_proj.{kind}"]
            for theirs, ours in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                                 ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):  # fmt: skip
                out[f"{layer}{i}.{theirs}.{kind}"] = state[f"{own}{ours}.{kind}"]
    return out


def write_safetensors(path, state: dict, bf16: bool = False) -> None:
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for key, value in state.items():
        if bf16:
            blob = value.bfloat16().view(torch.int16).numpy().tobytes()
        else:
            blob = value.numpy().tobytes()
        header[key] = {"dtype": "BF16" if bf16 else "F32", "shape": list(value.shape),
                       "data_offsets": [at, at + len(blob)]}  # fmt: skip
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write_gz(path) -> None:
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def write_folder_vocabulary(folder) -> None:
    ids = ClipBPE(MERGES)._ids
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf8")


class _Archive(nn.Module):
    """Carries a state dict with dotted names into a TorchScript archive."""

    def __init__(self, state: dict):
        super().__init__()
        for key, value in state.items():
            *parents, name = key.split(".")
            module = self
            for parent in parents:
                if parent not in module._modules:
                    module.add_module(parent, _Node())
                module = module._modules[parent]
            module.register_parameter(name, nn.Parameter(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class _Node(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same random tower in every layout; values are exact in half precision."""
    root = tmp_path_factory.mktemp("clip")
    state = {key: value.half().float() for key, value in random_state().items()}
    write_gz(root / "bpe.txt.gz")
    folder = root / "hf"
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", hugging_face_names(state))
    write_folder_vocabulary(folder)
    (folder / "config.json").write_text('{"text_config": {"hidden_act": "quick_gelu"}}')
    (root / "bare").mkdir()
    (root / "bare" / "model.safetensors").symlink_to(folder / "model.safetensors")
    older = root / "hf_bin"
    older.mkdir()
    torch.save(hugging_face_names(state), older / "pytorch_model.bin")
    write_folder_vocabulary(older)
    vision = {"visual.proj": torch.ones(2, 2), "logit_scale": torch.tensor(4.6)}
    halves = {key: value.half() for key, value in state.items()} | vision
    torch.jit.script(_Archive(halves)).save(root / "ViT-B-32.pt")
    wrapped = {"module." + key: value for key, value in (state | vision).items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, root / "open_clip.pt")
    split = {"text." + key: value for key, value in state.items()}
    write_safetensors(root / "open_clip.safetensors", split | vision)
    return root


def reference(state: dict, ids: torch.Tensor) -> torch.Tensor:
    """The tower as published, on all positions, with PyTorch's own attention."""
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][: ids.shape[1]]
    hidden = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)

    def norm(name, x):
        return F.layer_norm(x, (WIDTH,), state[name + ".weight"], state[name + ".bias"])

    for i in range(LAYERS):
        own = f"transformer.resblocks.{i}."
        attention = nn.MultiheadAttention(WIDTH, WIDTH // 64, batch_first=True)
        prefix = own + "attn."
        attention.load_state_dict({k.removeprefix(prefix): v for k, v in state.items()
                                   if k.startswith(prefix)})  # fmt: skip
        y = norm(own + "ln_1", x)
        x = x + attention(y, y, y, attn_mask=hidden, need_weights=True)[0]
        y = norm(own + "ln_2", x) @ state[own + "mlp.c_fc.weight"].T + state[own + "mlp.c_fc.bias"]
        y = y / (1 + torch.exp(-1.702 * y))
        x = x + y @ state[own + "mlp.c_proj.weight"].T + state[own + "mlp.c_proj.bias"]
    return norm("ln_final", x)[torch.arange(len(ids)), ids.argmax(1)] @ state["text_projection"]


TEXTS = ["walking", "wal king a", ""]
LAYOUTS = ["hf", "hf_bin", "ViT-B-32.pt", "open_clip.pt", "open_clip.safetensors",
           "hf/model.safetensors"]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_published_tower(files, layout):
    clip = load_clip_text(files / layout, files / "bpe.txt.gz")
    ids = torch.zeros(len(TEXTS), CONTEXT, dtype=torch.long)  # not cut after the end token
    for row, text in zip(ids, TEXTS, strict=True):
        tokens = clip.bpe.encode(text)
        row[: len(tokens)] = torch.tensor(tokens)
    state = {key: value.half().float() for key, value in random_state().items()}
    wanted = F.normalize(reference(state, ids), dim=-1)
    assert (clip.encode(TEXTS) - wanted).abs().max() < 1e-5
    assert (wanted[0] - wanted[1]).abs().max() > 0.05


def test_folder_brings_its_vocabulary(files):
    assert load_clip_text(files / "hf").bpe.encode("walking") == ClipBPE(MERGES).encode("walking")


def test_bfloat16_safetensors(files, tmp_path):
    write_safetensors(tmp_path / "half.safetensors", random_state(), bf16=True)
    clip = load_clip_text(tmp_path / "half.safetensors", files / "bpe.txt.gz")
    wanted = random_state()["text_projection"].bfloat16().float()
    assert torch.equal(clip.tower.text_projection, wanted)


def test_without_sizes_the_tower_is_that_of_vit_b_32():
    with torch.device("meta"):
        tower = ClipTextTower()
    shapes = {key: tuple(value.shape) for key, value in tower.state_dict().items()}
    assert shapes["token_embedding.weight"] == (49408, 512)
    assert shapes["text_projection"] == (512, 512)
    assert shapes["transformer.resblocks.11.mlp.c_fc.weight"] == (2048, 512)
    assert (len(tower.blocks), tower.context) == (12, 77)


def test_a_loaded_tower_is_frozen_and_says_its_sizes(files):
    clip = load_clip_text(files / "open_clip.pt", files / "bpe.txt.gz")
    assert not clip.training and not any(p.requires_grad for p in clip.parameters())
    assert (len(clip.tower.blocks), clip.tower.context) == (LAYERS, CONTEXT)


def test_a_tower_of_one_block_is_found_inside_a_larger_network(files, tmp_path):
    state = {f"net.{key}": value for key, value in random_state().items() if "s.1." not in key}
    torch.save(state, tmp_path / "clip.pt")
    assert len(load_clip_text(tmp_path / "clip.pt", files / "bpe.txt.gz").tower.blocks) == 1


def test_more_texts_than_a_batch_are_all_encoded_in_order(files):
    clip = load_clip_text(files / "open_clip.pt", files / "bpe.txt.gz")
    texts = [f"walk {a} {b}" for a in "abcdefghi" for b in "stuvwxyz"]
    found = clip.encode(texts)
    assert len(found) == 72
    parts = torch.cat([clip.encode(texts[:30]), clip.encode(texts[30:])])
    torch.testing.assert_close(found, parts, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(72))


def test_neighbours_in_a_batch_change_nothing(files):
    clip = load_clip_text(files / "open_clip.pt", files / "bpe.txt.gz")
    together, alone = clip.encode(["walking", "wal wal wal"]), clip.encode(["walking"])
    assert (together[0] - alone[0]).abs().max() < 1e-5
    assert clip.encode([]).shape == (0, DIM)


def test_long_label_is_named(files):
    clip = load_clip_text(files / "open_clip.pt", files / "bpe.txt.gz")
    with pytest.raises(SemttaError, match="label 'walking walking .* 22 CLIP tokens"):
        clip.encode(["walking", " ".join(["walking"] * 20)])
    with pytest.raises(SemttaError, match="list of texts"):
        clip.encode("walking")
    clip.encode([" ".join(["walking"] * 18)])  # as long as the tower reads
    with pytest.raises(SemttaError, match=f"label '{'a' * 60}' has"):
        clip.encode(["a" * 60])
    with pytest.raises(SemttaError, match=f"label '{'a' * 57}[.]{{3}}' has"):
        clip.encode(["a" * 61])


def test_a_folder_may_say_its_activation_or_not(files, tmp_path):
    write_safetensors(tmp_path / "model.safetensors", hugging_face_names(random_state()))
    (tmp_path / "pytorch_model.bin").write_bytes(b"the first of the two is read")
    for config in ("{}", '{"text_config": {}}', '{"hidden_act": "quick_gelu"}'):
        (tmp_path / "config.json").write_text(config)
        assert load_clip_text(tmp_path, files / "bpe.txt.gz").encode(["walk"]).shape == (1, DIM)
    (tmp_path / "config.json").unlink()
    assert load_clip_text(tmp_path, files / "bpe.txt.gz").encode(["walk"]).shape == (1, DIM)
