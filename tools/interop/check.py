"""Loads what run.ts trained in transformers and PEFT, and trains adapters with PEFT for run.ts to load.

    python check.py FOLDER LIMIT

FOLDER/native and FOLDER/microsoft contain `base` (a checkpoint) and one folder for each run: `latest` (written by the
trainer), `base` (only for adapters with new tokens: their checkpoint), and expected.safetensors (inputs and logits).
Microsoft's modelling code is only on the hub. Therefore its checkpoints are loaded in transformers with a table of
names that was generated with that code (names.json of test/reference). Adapters for it are loaded with PEFT into
empty modules with its names, and the merged weights are converted with the same table.
"""

import json, pathlib, re, sys, warnings

import torch
import transformers
from peft import AutoPeftModel, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Florence2Config, Florence2ForConditionalGeneration

names_json = pathlib.Path(__file__).parents[2] / 'test/reference/model/tiny-pad/names.json'
shared, head = 'language_model.model.shared.weight', 'language_model.lm_head.weight'  # tied, in Microsoft's names

transformers.utils.logging.disable_progress_bar()
warnings.simplefilter('ignore')


def main(folder, limit):
    right = True
    for layout, load in dict(native=load_native, microsoft=load_microsoft).items():
        print(f'\ntrained here in the {layout} layout, loaded by transformers and PEFT')
        for run in sorted(path.parent for path in (folder / layout).glob('*/expected.safetensors')):
            expected = load_file(run / 'expected.safetensors')
            difference = largest(logits(load(folder, run / 'latest'), expected), expected['logits'])
            right &= difference <= limit
            before = expected['logits.before']
            same = before.shape == expected['logits'].shape  # new tokens change the prompt and the vocabulary
            change = f'training moved the logits by {largest(expected["logits"], before):.3f}' if same else 'new tokens'
            much = '' if difference <= limit else '  TOO MUCH'
            print(f'  {run.name:28} {change}, they differ by {difference:.1e}{much}')
    train_by_peft(folder, load_file(folder / 'native/full/expected.safetensors'))
    return right


def largest(a, b):
    return (a - b).abs().max().item()


# ------------------------------------------------------------------------------------------- trained with run.ts


def load_native(folder, trained):
    if (trained / 'adapter_config.json').exists():
        return AutoPeftModel.from_pretrained(trained)
    model, info = Florence2ForConditionalGeneration.from_pretrained(trained, output_loading_info=True)
    wrong = {kind: names for kind, names in info.items() if names}
    if wrong:
        raise SystemExit(f'{trained}: {wrong}')
    return model


def load_microsoft(folder, trained):
    adapted = (trained / 'adapter_config.json').exists()
    base = trained.parent / 'base'  # only for adapters with new tokens
    base = base if base.exists() else folder / 'microsoft/base'
    state = load_file((base if adapted else trained) / 'model.safetensors')
    if adapted:
        if any('lm_head' in name for name in load_file(trained / 'adapter_model.safetensors')):
            state[head] = state[shared].clone()  # PEFT's change of the head must not change the embeddings
        state = PeftModel.from_pretrained(bare_modules(state), trained).merge_and_unload().state_dict()
    return from_microsoft(state, folder / 'native/base')


def bare_modules(state):
    """Returns modules with the names and shapes of a checkpoint; PEFT uses nothing else."""
    root = nn.Module()
    for name, tensor in state.items():
        path, _, leaf = name.rpartition('.')
        parts = path.split('.') if path else []
        module = root
        for i, part in enumerate(parts):
            if part not in module._modules:
                module.add_module(part, bare_module('.'.join(parts[: i + 1]), state))
            module = module.get_submodule(part)
        if leaf not in ('weight', 'bias'):
            module.register_buffer(leaf, tensor)
    root.load_state_dict(state)
    return root


def bare_module(path, state):
    weight, bias = state.get(f'{path}.weight'), f'{path}.bias' in state
    if weight is None:
        return nn.Module()
    if re.search(r'(shared|embed_positions|_embeddings)$', path):
        return nn.Embedding(*weight.shape)
    if weight.dim() == 1:
        return nn.LayerNorm(weight.shape)
    if weight.dim() == 2:
        return nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
    groups = weight.shape[0] if weight.shape[1] == 1 else 1
    return nn.Conv2d(weight.shape[1] * groups, weight.shape[0], weight.shape[2:], groups=groups, bias=bias)


def from_microsoft(state, native):
    """Returns transformers' model with weights in Microsoft's names. `native`: a checkpoint of the same shape, for its config."""
    without_numbers = lambda name: re.sub(r'\.\d+(?=\.)', '.{}', name)
    names = {without_numbers(row['microsoft']): row for row in json.loads(names_json.read_text())}
    state = {head: state[shared], **state}
    renamed = {}
    for name, tensor in state.items():
        if name.endswith('final_logits_bias'):
            assert not tensor.any()  # transformers has no such parameter
            continue
        row = names[without_numbers(name)]
        native_name = without_numbers(row['hf']).format(*re.findall(r'\.(\d+)(?=\.)', name))
        renamed[native_name] = tensor.t() if row['transposed'] else tensor
    for stack in ('encoder', 'decoder'):
        renamed[f'model.language_model.{stack}.embed_tokens.weight'] = state[shared]
    config = Florence2Config.from_pretrained(native)
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    config.text_config.vocab_size = state[shared].shape[0]
    model = Florence2ForConditionalGeneration(config)
    model.load_state_dict(renamed, strict=True)
    return model


def forward(model, inputs, **more):
    """Runs the model. Tokens mark the image's positions in the prompt; the features replace them."""
    config = model.config
    # Microsoft's table has no row for this token. Any token that is not in the prompt works.
    config.image_token_id = min(config.image_token_id, config.text_config.vocab_size - 1)
    features = 1 + (inputs['pixel_values'].shape[-1] // 32) ** 2
    prompt = torch.cat([torch.full((1, features), config.image_token_id), inputs['prompt_ids'].long()], 1)
    return model(input_ids=prompt, pixel_values=inputs['pixel_values'], **more)


def logits(model, inputs):
    with torch.no_grad():
        return forward(model.eval(), inputs, decoder_input_ids=inputs['decoder_input_ids'].long()).logits


# ------------------------------------------------------------------------------------------- trained with PEFT


language = r'.*language_model\.(encoder|decoder).*\.(q_proj|v_proj|fc1)'
configs = {
    'targets-by-expression': dict(target_modules=language),
    'rslora-patterns-gaussian': dict(
        target_modules=['q_proj', 'qkv', 'conv', 'fc2', 'image_projection'],
        **dict(r=4, lora_alpha=6, use_rslora=True, init_lora_weights='gaussian'),
        rank_pattern={r'encoder.layers.\d+.self_attn.q_proj': 2, 'qkv': 3},
        alpha_pattern={'fc2': 2.5},
    ),
    'all-biases': dict(target_modules=['out_proj', 'conv'], bias='all'),
    'biases-of-layers': dict(target_modules=['v_proj', 'proj'], bias='lora_only'),
    'saved-modules': dict(target_modules=language, modules_to_save=['layernorm_embedding', 'fc2']),
    'saved-head': dict(target_modules=language, modules_to_save=['lm_head']),
    'adapted-head': dict(target_modules=['q_proj', 'lm_head']),
}


def train_by_peft(folder, inputs):
    for name, config in configs.items():
        torch.manual_seed(0)
        base = Florence2ForConditionalGeneration.from_pretrained(folder / 'native/base')
        before = logits(base, inputs)
        model = get_peft_model(base, LoraConfig(**config))
        optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
        for _ in range(3):
            loss = forward(model, inputs, labels=inputs['decoder_input_ids'].long()).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.save_pretrained(folder / 'peft' / name)
        save_file(
            {'logits': logits(model, inputs), 'logits.before': before}, folder / 'peft' / name / 'expected.safetensors'
        )


if __name__ == '__main__':
    sys.exit(0 if main(pathlib.Path(sys.argv[1]), float(sys.argv[2])) else 1)
