"""Writes test/adapters/dora: a DoRA adapter of the tiny reference model as PEFT saves it, and what PEFT computes with it.

    pip install torch transformers peft safetensors
    python tools/peft_dora.py

expected.safetensors has, for each adapted layer, the weight that PEFT merges (NAME.weight), an input (NAME.x) and the
outputs of the layer with the adapter at scale 1 (NAME.y) and 0.5 (NAME.half). Maps are [B, C, H, W], as in PyTorch.
"""

import os
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import Florence2ForConditionalGeneration

os.chdir(Path(__file__).resolve().parent.parent)  # PEFT saves the path of the base model
root = Path("test")
out = root / "adapters" / "dora"
layers = {
    "vision_tower.convs.1.conv": (2, 24 // 2, 7, 6),
    "vision_tower.blocks.0.0.spatial_block.window_attn.qkv": (2, 5, 12),
    "language_model.decoder.layers.0.fc1": (2, 3, 48),
    "language_model.encoder.layers.0.self_attn.q_proj": (1, 4, 48),
}

torch.manual_seed(0)
base = Florence2ForConditionalGeneration.from_pretrained(root / "reference/model/tiny-pad/hf", dtype=torch.float32)
names = {name: next(n for n, _ in base.named_modules() if n.endswith(name)) for name in layers}
config = LoraConfig(
    r=3, lora_alpha=5, use_dora=True, target_modules=list(names.values()), rank_pattern={names[list(layers)[0]]: 2}
)
model = get_peft_model(base, config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            factor = 1 + 0.3 * torch.randn_like(parameter)
            parameter.copy_(parameter * factor if "magnitude" in name else 0.1 * torch.randn_like(parameter))
model.save_pretrained(out)

expected = {}
with torch.no_grad():
    modules = dict(model.base_model.model.named_modules())
    for name, shape in layers.items():
        expected[f"{name}.x"] = torch.randn(shape)
        expected[f"{name}.y"] = modules[names[name]](expected[f"{name}.x"])
        modules[names[name]].set_scale("default", 0.5)
        expected[f"{name}.half"] = modules[names[name]](expected[f"{name}.x"])
        modules[names[name]].set_scale("default", 1)
    merged = dict(model.merge_and_unload().named_modules())
    for name in layers:
        expected[f"{name}.weight"] = merged[names[name]].weight
save_file({name: tensor.detach().contiguous().clone() for name, tensor in expected.items()}, out / "expected.safetensors")
(out / "README.md").unlink(missing_ok=True)
