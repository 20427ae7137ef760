"""Exports Florence-2 as ONNX models:

    python bench/peers/export_onnx.py CHECKPOINT OUT

To OUT/onnx: models for transformers.js, with its names for files, inputs and outputs:

    vision_encoder        pixel_values [B, 3, H, W] -> image_features [B, N, D]
    embed_tokens          input_ids [B, T] -> inputs_embeds [B, T, D]
    encoder_model         inputs_embeds [B, S, D] -> last_hidden_state [B, S, D]
    decoder_model_merged  inputs_embeds [B, 1, D], encoder_hidden_states, use_cache_branch [1], past_key_values.* ->
                          logits [B, 1, V], present.*

To OUT: a decoder split into the parts that are fastest in ONNX Runtime:

    cross.onnx            states -> keys and values of cross-attention, [B, heads, S, d] per layer
    decoder.onnx          ids [B, 1], position [1], cross_*, past_* [B, heads, P, d] -> logits [B, V], present_*

CHECKPOINT is in transformers' layout.
"""

import hashlib, os, shutil, sys, warnings

import onnx
import torch
from onnx import helper
from torch import nn
from torch.nn.functional import gelu
from transformers import Florence2ForConditionalGeneration

warnings.simplefilter('ignore')
POSITION_OFFSET = 2


def main(folder, out):
    model = Florence2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation='eager').eval()
    os.makedirs(f'{out}/onnx', exist_ok=True)
    for name in os.listdir(folder):
        if name.endswith('.json'):
            shutil.copy(f'{folder}/{name}', out)
    language = model.model.language_model
    layers = len(language.decoder.layers)
    pixels, ids, embeds = torch.zeros(1, 3, 768, 768), torch.full((1, 10), 100), torch.zeros(1, 20, model.config.text_config.d_model)
    batch, texts = {0: 'batch_size'}, {0: 'batch_size', 1: 'T'}
    keys, past_keys = {0: 'batch_size', 2: 'S'}, {0: 'batch_size', 2: 'P'}

    def save(module, name, inputs, given, made):
        """`given` and `made` map the names of inputs and outputs to their dynamic axes."""
        path = f'{out}/{name}.onnx'
        torch.onnx.export(
            module, inputs, path, input_names=list(given), output_names=list(made), dynamic_axes={**given, **made},
            opset_version=20, dynamo=False, do_constant_folding=True,
        )  # fmt: skip
        return path

    save(Vision(model), 'onnx/vision_encoder', (pixels,), {'pixel_values': batch}, {'image_features': batch})
    save(language.shared, 'onnx/embed_tokens', (ids,), {'input_ids': texts}, {'inputs_embeds': texts})
    save(Encoder(model), 'onnx/encoder_model', (embeds,), {'inputs_embeds': texts}, {'last_hidden_state': texts})

    cross = Cross(model)(embeds)
    past = [part[:, :, :3] for part in cross]
    named = lambda pattern, axes: {pattern.format(i, part): axes for i in range(layers) for part in ('key', 'value')}
    save(Cross(model), 'cross', (embeds,), {'states': texts}, named('cross_{1}_{0}', keys))
    save(
        Decoder(model), 'decoder', (torch.full((1, 1), 2), torch.tensor([5]), *cross, *past),
        {'ids': batch, 'position': {}, **named('cross_{1}_{0}', keys), **named('past_{1}_{0}', past_keys)},
        {'logits': batch, **named('present_{1}_{0}', {})},
    )  # fmt: skip

    given = {
        'inputs_embeds': batch, 'encoder_hidden_states': texts,
        **named('past_key_values.{}.decoder.{}', past_keys), **named('past_key_values.{}.encoder.{}', keys),
    }  # fmt: skip
    made = {'logits': batch, **named('present.{}.decoder.{}', {}), **named('present.{}.encoder.{}', {})}
    inputs = (embeds[:, :1], embeds, *past, *cross)
    branches = [save(Branch(model, cached), f'branch_{cached}', inputs, given, made) for cached in (True, False)]
    merge(*branches, f'{out}/onnx/decoder_model_merged.onnx')


def merge(cached, first, out):
    """Merges two models with equal inputs and outputs into one, whose input `use_cache_branch` selects which is run."""
    weights, graphs, inputs = {}, [], {}
    for path in (cached, first):
        model = onnx.load(path)
        os.remove(path)
        names = {value.name: value.name for value in model.graph.input}
        inputs.update({value.name: value for value in model.graph.input})
        for weight in model.graph.initializer:
            names[weight.name] = hashlib.sha256(weight.raw_data + str(weight.dims).encode()).hexdigest()
            weight.name = names[weight.name]
            weights[weight.name] = weight
        rename = lambda name: names.setdefault(name, f'{os.path.basename(path)}/{name}') if name else name
        for node in model.graph.node:
            node.input[:] = map(rename, node.input)
            node.output[:] = map(rename, node.output)
        outputs = [value.name for value in model.graph.output]
        for value in model.graph.output:
            value.name = rename(value.name)
        graphs.append(helper.make_graph(model.graph.node, os.path.basename(path), [], model.graph.output))
    use_cache = helper.make_tensor_value_info('use_cache_branch', onnx.TensorProto.BOOL, [1])
    branch = helper.make_node('If', ['use_cache_branch'], outputs, then_branch=graphs[0], else_branch=graphs[1])
    made = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph([branch], 'decoder', [*inputs.values(), use_cache], made, list(weights.values()))
    onnx.save(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version), out)


class Part(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.language = model.model.language_model


class Vision(Part):
    def forward(self, pixels):
        return self.model.get_image_features(pixels).pooler_output


class Encoder(Part):
    def forward(self, x):
        encoder = self.language.encoder
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
        count = len(caches) // 2
        logits, present = self.step(self.language.shared(ids), position, caches[:count], caches[count:])
        return logits[:, 0], *present

    def step(self, x, position, cross, past):
        decoder = self.language.decoder
        x = decoder.layernorm_embedding(x + decoder.embed_positions.weight[position + POSITION_OFFSET])
        present = []
        for i, layer in enumerate(decoder.layers):
            key, value = key_value(layer.self_attn, x)
            key, value = torch.cat([past[2 * i], key], 2), torch.cat([past[2 * i + 1], value], 2)
            present += [key, value]
            x = layer.self_attn_layer_norm(x + attend(layer.self_attn, x, key, value))
            x = layer.encoder_attn_layer_norm(x + attend(layer.encoder_attn, x, cross[2 * i], cross[2 * i + 1]))
            x = layer.final_layer_norm(x + layer.fc2(gelu(layer.fc1(x))))
        return self.model.lm_head(x), present


class Branch(Decoder):
    """The decoder for transformers.js: the first step, which computes keys and values of cross-attention, or a later step."""

    def __init__(self, model, cached):
        super().__init__(model)
        self.cached = cached

    def forward(self, embeds, states, *caches):
        count = len(caches) // 2
        past, cross = caches[:count], caches[count:]
        if not self.cached:
            cross = Cross.forward(self, states)
        position = torch.ones_like(past[0][0, 0, :, 0], dtype=torch.int64).sum()[None]
        logits, present = self.step(embeds, position, cross, past)
        return logits, *present, *[part[:0] if self.cached else part for part in cross]


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
