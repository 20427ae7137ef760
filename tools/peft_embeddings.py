"""Writes test/adapters/embeddings: what PEFT computes with adapters of the embeddings, of the head and of a
depthwise convolution of the tiny reference model.

    pip install torch transformers peft safetensors
    python tools/peft_embeddings.py

Folders of the same names as the cases have LoRA adapters as PEFT saves them. For `modules_to_save`, whose tables are large,
the test makes the same values: the table times 1 + 0.1 · sin(i + phase), for each element i in the order of the file.
expected.safetensors has image features, ids of a prompt and of an answer, and the logits of each case; and an input and the
output of a depthwise convolution, maps [B, C, H, W].
"""

import os, shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import Florence2ForConditionalGeneration

os.chdir(Path(__file__).resolve().parent.parent)  # PEFT saves the path of the base model
out = Path("test/adapters/embeddings")
shutil.rmtree(out, ignore_errors=True)
out.mkdir()
torch.manual_seed(0)
features = torch.randn(1, 5, 48)
prompt = torch.tensor([[0, 200, 7, 1400, 33, 2]])
answer = torch.tensor([[2, 0, 33, 1200, 9, 7]])
expected = {"features": features, "prompt": prompt.int(), "answer": answer.int()}


def base():
    return Florence2ForConditionalGeneration.from_pretrained("test/reference/model/tiny-pad/hf", dtype=torch.float32)


def logits(model):
    language = model.model.language_model
    inputs = torch.cat([features, language.get_input_embeddings()(prompt)], 1)
    hidden = language(inputs_embeds=inputs, decoder_input_ids=answer).last_hidden_state
    return model.lm_head(hidden).detach().contiguous()


def lora(name, targets, r=2):
    model = get_peft_model(base(), LoraConfig(r=r, lora_alpha=3, target_modules=targets)).eval()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if ".lora_" in path or ".lora_embedding_" in path:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(out / name, save_embedding_layers=False)
    (out / name / "README.md").unlink(missing_ok=True)
    expected[name] = logits(model.base_model.model)
    return model.base_model.model


def saved(name, modules):
    phases = {"shared": 1, "encoder.embed_tokens": 2, "decoder.embed_tokens": 3, "lm_head": 4}
    config = LoraConfig(r=1, target_modules=r".*decoder\.layers\.0\.fc1", modules_to_save=modules)
    model = get_peft_model(base(), config).eval()
    with torch.no_grad():
        for path, table in model.named_parameters():
            if "modules_to_save" not in path:
                continue
            phase = next(phase for end, phase in phases.items() if end in path)
            table.copy_(base().lm_head.weight * (1 + 0.1 * torch.sin(torch.arange(table.numel()) + phase)).view_as(table))
    expected[name] = logits(model.base_model.model)


with torch.no_grad():
    expected["none"] = logits(base().eval())
    lora("shared", ["shared"])
    lora("embed_tokens", ["embed_tokens"])
    lora("all", ["shared", "embed_tokens", "lm_head", "q_proj"])
    name = "vision_tower.blocks.0.0.spatial_block.conv1"
    depthwise = lora("depthwise", [f"model.{name}"], r=24)
    expected["x"] = torch.randn(2, 12, 7, 6)
    expected["y"] = depthwise.get_submodule(f"model.{name}")(expected["x"]).contiguous()
    del expected["depthwise"]
    saved("save shared", ["shared"])
    saved("save embed_tokens and lm_head", ["embed_tokens", "lm_head"])
    saved("save lm_head", ["lm_head"])
    saved("save all", ["shared", "embed_tokens", "lm_head"])
save_file({name: tensor.contiguous().clone() for name, tensor in expected.items()}, out / "expected.safetensors")
for name, tensor in expected.items():
    if tensor.ndim == 3 and name not in ("features", "none", "x", "y"):
        print(name, (tensor - expected["none"]).abs().max().item())
