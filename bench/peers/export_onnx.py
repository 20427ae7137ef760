"""Writes Florence-2 as four ONNX models, the parts in which transformers.js runs it:

    python bench/peers/export_onnx.py CHECKPOINT OUT

    vision.onnx    pixel_values [B, 3, H, W] -> features [B, N, D]
    encoder.onnx   features [B, N, D], ids [B, T] -> states [B, N + T, D]
    cross.onnx     states -> the keys and values of cross-attention, [B, heads, S, d] for each layer
    decoder.onnx   ids [B, 1], position [1], cross_*, past_* [B, heads, P, d] -> logits [B, V], present_* [B, heads, P + 1, d]

CHECKPOINT is in transformers' layout.
"""

import os, sys, warnings

import torch
from torch import nn
from torch.nn.functional import gelu
from transformers import Florence2ForConditionalGeneration

warnings.simplefilter('ignore')
POSITION_OFFSET = 2


def main(folder, out):
    model = Florence2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation='eager').eval()
    os.makedirs(out, exist_ok=True)
    text = model.config.text_config
    heads, layers = text.decoder_attention_heads, text.decoder_layers
    size = text.d_model // heads
    pixels = torch.zeros(1, 3, 768, 768)
    with torch.no_grad():
        features = model.get_image_features(pixels).pooler_output
        ids = torch.full((1, 10), 100)
        states = Encoder(model)(features, ids)
        cross = Cross(model)(states)
    names = lambda kind: [f'{kind}_{part}_{layer}' for layer in range(layers) for part in ('key', 'value')]
    past = [torch.zeros(1, heads, 3, size) for _ in range(2 * layers)]
    batch = {0: 'batch'}
    save = lambda module, inputs, name, given, made, axes: torch.onnx.export(
        module, inputs, os.path.join(out, name), input_names=given, output_names=made, dynamic_axes=axes,
        opset_version=20, dynamo=False, do_constant_folding=True,
    )  # fmt: skip
    save(Vision(model), (pixels,), 'vision.onnx', ['pixel_values'], ['features'], {'pixel_values': batch})
    save(
        Encoder(model), (features, ids), 'encoder.onnx', ['features', 'ids'], ['states'],
        {'features': batch, 'ids': {0: 'batch', 1: 'T'}},
    )  # fmt: skip
    save(Cross(model), (states,), 'cross.onnx', ['states'], names('cross'), {'states': {0: 'batch', 1: 'S'}})
    save(
        Decoder(model), (torch.full((1, 1), 2), torch.tensor([5]), *cross, *past), 'decoder.onnx',
        ['ids', 'position', *names('cross'), *names('past')], ['logits', *names('present')],
        {
            'ids': batch,
            **{name: {0: 'batch', 2: 'S'} for name in names('cross')},
            **{name: {0: 'batch', 2: 'P'} for name in names('past')},
        },
    )  # fmt: skip


class Part(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.language = model.model.language_model


class Vision(Part):
    def forward(self, pixels):
        return self.model.get_image_features(pixels).pooler_output


class Encoder(Part):
    def forward(self, features, ids):
        encoder = self.language.encoder
        x = torch.cat([features, self.language.shared(ids)], 1)
        x = encoder.layernorm_embedding(x + encoder.embed_positions.weight[POSITION_OFFSET : POSITION_OFFSET + x.shape[1]])
        for layer in encoder.layers:
            x = layer.self_attn_layer_norm(x + attend(layer.self_attn, x, *key_value(layer.self_attn, x)))
            x = layer.final_layer_norm(x + layer.fc2(gelu(layer.fc1(x))))
        return x


class Cross(Part):
    def forward(self, states):
        return [part for layer in self.language.decoder.layers for part in key_value(layer.encoder_attn, states)]


class Decoder(Part):
    def forward(self, ids, position, *caches):
        decoder = self.language.decoder
        x = self.language.shared(ids) + decoder.embed_positions.weight[position + POSITION_OFFSET]
        x = decoder.layernorm_embedding(x)
        present = []
        count = 2 * len(decoder.layers)
        cross, past = caches[:count], caches[count:]
        for i, layer in enumerate(decoder.layers):
            key, value = key_value(layer.self_attn, x)
            key, value = torch.cat([past[2 * i], key], 2), torch.cat([past[2 * i + 1], value], 2)
            present += [key, value]
            x = layer.self_attn_layer_norm(x + attend(layer.self_attn, x, key, value))
            x = layer.encoder_attn_layer_norm(x + attend(layer.encoder_attn, x, cross[2 * i], cross[2 * i + 1]))
            x = layer.final_layer_norm(x + layer.fc2(gelu(layer.fc1(x))))
        return self.model.lm_head(x)[:, 0], *present


def split_heads(x, attention):
    return x.view(x.shape[0], x.shape[1], attention.num_heads, attention.head_dim).transpose(1, 2)


def key_value(attention, x):
    return split_heads(attention.k_proj(x), attention), split_heads(attention.v_proj(x), attention)


def attend(attention, x, key, value):
    query = split_heads(attention.q_proj(x), attention) * attention.head_dim**-0.5
    z = torch.softmax(query @ key.transpose(-1, -2), -1) @ value
    return attention.out_proj(z.transpose(1, 2).flatten(2))


if __name__ == '__main__':
    with torch.no_grad():
        main(sys.argv[1], sys.argv[2])
