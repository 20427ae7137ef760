"""Dumps what PyTorch computes from a Florence-2 checkpoint, for `florence2 parity` to compare layer by layer.

    python3 -m venv .venv && .venv/bin/pip install -r tools/dump_torch.requirements.txt
    .venv/bin/python tools/dump_torch.py MODEL IMAGE --task "<OD>" OUT
    npx florence2 parity OUT

transformers' native implementation runs in float32 with eager attention. The dump has every layer's output for the
image, the task's prompt and the greedy answer (teacher forcing), the caches of the first steps, and generated answers.
A second run in float64 measures the rounding error of each tensor, from which the tolerances are derived.
"""

import argparse, json, os, pathlib, re, shutil, sys, warnings

os.environ.setdefault('TRANSFORMERS_VERBOSITY', 'error')
warnings.simplefilter('ignore')

import torch
import transformers
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, BartConfig, GenerationConfig, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.florence2 import (
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    Florence2VisionConfig,
)

transformers.utils.logging.disable_progress_bar()

WEIGHTS = ['model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json']


def main(args):
    folder, weights = find_checkpoint(args.model)
    model = load_model(folder, weights)
    inputs, request, tokenizer = read_request(args, folder, model)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(args.image, out / request['image'])

    cases = generate_cases(model, inputs, checkpoint_settings(folder), args.max_new_tokens)
    answer = cases['greedy']['sequences'][0]
    inputs['decoder_input_ids'] = torch.tensor([answer[:-1]])
    inputs['labels'] = torch.tensor([answer[1:]])
    dumps = {name: Dump() for name in ('vision.safetensors', 'text.safetensors', 'cache.safetensors')}
    for dtype in (torch.float32, torch.float64):
        run_layers(model.to(dtype), inputs, dumps)
        run_steps(model, inputs, dumps['cache.safetensors'], steps=min(3, len(answer) - 1))

    manifest = {
        'variant': request['task'],
        'transformers': transformers.__version__,
        'torch': torch.__version__,
        'request': request,
        'checkpoints': {str((folder / weights).resolve()): {'dtype': stored_dtype(folder / weights)}},
        'generation': {name: {} for name in cases},
        'files': {'inputs.safetensors': write(out / 'inputs.safetensors', inputs, {})},
    }
    for name, dump in dumps.items():
        manifest['files'][name] = write(out / name, dump.tensors, dump.precision)
    write_json(out / 'generation.json', {'cases': cases})
    write_json(out / 'manifest.json', manifest)  # last, because it marks the folder as complete
    print(f'Prompt: {tokenizer.decode(inputs["text_input_ids"][0])}\nAnswer: {tokenizer.decode(answer[1:])}')
    print(f'{out}: {sum(len(dump.tensors) for dump in dumps.values())} tensors and {len(cases)} answers')


# ------------------------------------------------------------------------------------------- checkpoints


def find_checkpoint(model):
    """Returns the checkpoint's folder (downloads a hub id) and the name of its weight file."""
    folder = pathlib.Path(model)
    if not folder.is_dir():
        if folder.is_absolute() or model.startswith('.') or model.count('/') != 1:
            fail(f'{model} is neither a folder nor a hub id (owner/name).')
        from huggingface_hub import snapshot_download

        try:
            folder = pathlib.Path(snapshot_download(model, allow_patterns=['*.json', '*.txt', '*.safetensors']))
            if not any((folder / name).exists() for name in WEIGHTS):
                snapshot_download(model, allow_patterns=['*.bin'])
        except Exception as error:
            fail(f'{model} cannot be downloaded from the hub: {first_line(error)}')
    weights = next((name for name in WEIGHTS if (folder / name).exists()), None)
    if not weights or not (folder / 'config.json').exists():
        fail(f'{folder} is not a checkpoint: {"config.json" if weights else "model.safetensors"} is missing.')
    return folder, weights


def load_model(folder, weights):
    """Returns the model in float32, also if the weights are stored in another type."""
    config = json.loads((folder / 'config.json').read_text())
    try:
        if 'dim_embed' in config.get('vision_config', {}):
            model = from_microsoft(config, load_state(folder / weights))
        else:
            model, info = Florence2ForConditionalGeneration.from_pretrained(
                folder, dtype=torch.float32, attn_implementation='eager', output_loading_info=True
            )
            check_names(info['missing_keys'], info['unexpected_keys'])
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        fail(f'{folder} cannot be loaded: {first_line(error)}')
    model.generation_config = GenerationConfig()  # only the arguments of `generate` count
    return model.eval()


def load_state(path):
    if path.name.endswith('.index.json'):
        files = sorted(set(json.loads(path.read_text())['weight_map'].values()))
        return {name: tensor for file in files for name, tensor in load_state(path.parent / file).items()}
    return load_file(path) if path.suffix == '.safetensors' else torch.load(path, weights_only=True)


def check_names(missing, unexpected):
    tables = (f'model.language_model.{stack}.embed_tokens.weight' for stack in ('encoder', 'decoder'))
    tied = {'lm_head.weight', *tables}
    wrong = sorted({*missing} - tied) + sorted(unexpected)
    if wrong:
        raise ValueError(f'{wrong[0]} and {len(wrong) - 1} more tensors are missing or unknown.')


def from_microsoft(config, state):
    """Returns transformers' model with weights in Microsoft's layout, that of the published checkpoints."""
    vision, text = config['vision_config'], config['text_config']
    shared = lambda *names: {name: vision[name] for name in names if name in vision}
    ids = {f'{name}_token_id': text.get(f'{name}_token_id', i) for i, name in enumerate(('bos', 'pad', 'eos'))}
    kept = ['vocab_size', 'd_model', 'max_position_embeddings', 'scale_embedding', 'decoder_start_token_id']
    kept += [f'{stack}_{what}' for stack in ('encoder', 'decoder') for what in ('layers', 'ffn_dim', 'attention_heads')]
    shapes = ['depths', 'num_heads', 'num_groups', 'window_size', 'patch_size', 'patch_stride', 'patch_padding']
    native = Florence2Config(
        vision_config=Florence2VisionConfig(
            embed_dim=vision['dim_embed'],
            projection_dim=vision.get('projection_dim', config['projection_dim']),
            max_position_embeddings=vision['image_pos_embed']['max_pos_embeddings'],
            max_temporal_embeddings=vision['visual_temporal_embedding']['max_temporal_embeddings'],
            **shared(*shapes, 'patch_prenorm'),
        ).to_dict(),
        text_config=BartConfig(**{name: text[name] for name in kept if name in text}, **ids).to_dict(),
        **ids,
    )
    model = Florence2ForConditionalGeneration._from_config(native, attn_implementation='eager').float()
    renamed = {native_name(name): tensor.float() for name, tensor in state.items() if 'final_logits_bias' not in name}
    bias = state.get('language_model.final_logits_bias')
    if bias is not None and bias.any():
        raise ValueError('final_logits_bias is not zero, and transformers has no such parameter.')
    head = renamed.get('lm_head.weight')
    if head is not None and not torch.equal(head, renamed['model.language_model.shared.weight']):
        raise ValueError('lm_head differs from the embeddings, but transformers ties them.')
    projection = 'model.multi_modal_projector.image_projection.weight'
    renamed[projection] = renamed[projection].t().contiguous()
    check_names(*model.load_state_dict(renamed, strict=False))
    model.tie_weights()
    return model


def native_name(name):
    """Returns transformers' name of a tensor: vision_tower.convs.0.proj.bias -> model.vision_tower.convs.0.conv.bias."""
    for pattern, replacement in [
        (r'^language_model\.lm_head', 'lm_head'),
        (r'^language_model\.model\.', 'model.language_model.'),
        (r'^image_projection$', 'image_projection.weight'),
        (r'^image_pos_embed\.', 'image_position_embed.'),
        (r'^(image_|visual_temporal_embed)', r'model.multi_modal_projector.\1'),
        (r'^vision_tower\.', 'model.vision_tower.'),
        (r'(convs\.\d+)\.proj\.', r'\1.conv.'),
        (r'\.(conv[12])\.fn\.dw\.', r'.\1.'),
        (r'\.(window|channel)_attn\.norm\.', '.norm1.'),
        (r'\.ffn\.norm\.', '.norm2.'),
        (r'\.((window|channel)_attn)\.fn\.', r'.\1.'),
        (r'\.ffn\.fn\.net\.', '.ffn.'),
    ]:
        name = re.sub(pattern, replacement, name)
    return name


def stored_dtype(path):
    """Returns the type of the weights in their file, e.g. float16."""
    if path.name.endswith('.index.json'):
        path = path.parent / sorted(json.loads(path.read_text())['weight_map'].values())[0]
    if path.suffix != '.safetensors':
        return str(next(iter(torch.load(path, weights_only=True, mmap=True).values())).dtype).removeprefix('torch.')
    with safe_open(path, 'pt') as file:
        return str(file.get_tensor(next(iter(file.keys()))).dtype).removeprefix('torch.')


# ------------------------------------------------------------------------------------------- inputs


def read_request(args, folder, model):
    """Returns the inputs of the network for an image and a task, from transformers' processor."""
    try:
        image = Image.open(args.image).convert('RGB')
    except OSError as error:
        fail(f'{args.image} cannot be read as an image: {first_line(error)}')
    images = load_image_processor(folder)
    tokenizer = load_tokenizer(folder)
    pixel_values = torch.as_tensor(images(image, return_tensors='pt')['pixel_values'])
    rows, columns = map_size(model.config.vision_config, pixel_values.shape[2:])
    images.image_seq_length = rows * columns + 1
    processor = Florence2Processor(images, tokenizer)
    try:
        ids = processor(images=image, text=args.task + args.text, return_tensors='pt')['input_ids']
    except ValueError as error:
        fail(first_line(error))
    prompt = ids[:, images.image_seq_length :]
    positions = model.config.text_config.max_position_embeddings
    if ids.shape[1] > positions:
        fail(f'The prompt has {prompt.shape[1]} tokens, which with the image exceeds the {positions} positions.')
    # A token marks the image's positions. Its embedding is replaced, so any token that is not in the prompt works.
    table = model.config.text_config.vocab_size
    model.config.image_token_id = next(i for i in reversed(range(table)) if i not in prompt)
    inputs = {
        'pixel_values': pixel_values.float(),
        'text_input_ids': prompt,
        'text_attention_mask': torch.ones_like(prompt),
    }
    kept = f'image{pathlib.Path(args.image).suffix.lower()}'
    return inputs, {'image': kept, 'task': args.task, **({'text': args.text} if args.text else {})}, tokenizer


def load_image_processor(folder):
    """Returns a processor that resizes with Pillow, as in Florence-2's training. The default size is Florence-2's."""
    if any((folder / name).exists() for name in ('preprocessor_config.json', 'processor_config.json')):
        return CLIPImageProcessorPil.from_pretrained(folder)
    own = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225], size=dict(height=768, width=768))
    return CLIPImageProcessorPil(do_center_crop=False, **own)


def load_tokenizer(folder):
    file = folder / 'tokenizer.json'
    special = dict(bos_token='<s>', eos_token='</s>', pad_token='<pad>', unk_token='<unk>')
    if file.exists():
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), **special)
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    # Microsoft's processor adds these tokens at run time; the files of its checkpoints lack them.
    pair = lambda name: [f'<{name}>', f'</{name}>']
    tokens = pair('od') + pair('ocr') + [f'<loc_{i}>' for i in range(1000)]
    tokens += [token for name in ('cap', 'ncap', 'dcap', 'grounding', 'seg') for token in pair(name)] + ['<sep>']
    tokens += [token for name in ('region_cap', 'region_to_desciption', 'proposal', 'poly') for token in pair(name)]
    tokenizer.add_tokens([*tokens, '<and>', '<image>'], special_tokens=True)
    tokenizer.image_token, tokenizer.image_token_id = '<image>', tokenizer.convert_tokens_to_ids('<image>')
    return tokenizer


def map_size(config, size):
    for kernel, stride, padding in zip(config.patch_size, config.patch_stride, config.patch_padding):
        size = [(side + 2 * padding - kernel) // stride + 1 for side in size]
    return size


def with_image(model, inputs):
    """Returns the arguments of the model: the image's tokens, then the prompt."""
    pixels = inputs['pixel_values'].to(model.dtype)
    rows, columns = map_size(model.config.vision_config, pixels.shape[2:])
    marks = torch.full((1, 1 + rows * columns), model.config.image_token_id)
    ids = torch.cat([marks, inputs['text_input_ids']], 1)
    return dict(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels)


# ------------------------------------------------------------------------------------------- activations


class Dump:
    """Tensors in execution order. The difference between the first and a second value of a name is its precision."""

    def __init__(self):
        self.tensors, self.precision = {}, {}

    def put(self, name, tensor):
        if name in self.tensors:
            self.precision[name] = (tensor.double() - self.tensors[name].double()).abs().max().item()
        else:
            self.tensors[name] = tensor.detach().clone().contiguous()


class Hooks:
    def __init__(self):
        self.handles = []

    def output(self, module, dump, name, part=0):
        def hook(_module, _args, out):
            dump.put(name, out[part] if isinstance(out, tuple) else out)

        self.handles.append(module.register_forward_hook(hook))

    def input(self, module, dump, name):
        def hook(_module, args, kwargs):
            dump.put(name, kwargs['inputs_embeds'] if 'inputs_embeds' in kwargs else args[0])

        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def remove(self):
        for handle in self.handles:
            handle.remove()


def run_layers(model, inputs, dumps):
    """Dumps every layer of one pass under teacher forcing."""
    hooks, text = Hooks(), dumps['text.safetensors']
    hook_vision(hooks, model.model, dumps['vision.safetensors'])
    hook_language(hooks, model.model.language_model, text)
    with torch.no_grad():
        out = model(**with_image(model, inputs), decoder_input_ids=inputs['decoder_input_ids'])
    hooks.remove()
    text.put('logits', out.logits)
    text.put('loss', cross_entropy(out.logits[0], inputs['labels'][0]).reshape(1))


def hook_vision(hooks, model, dump):
    tower, projector = model.vision_tower, model.multi_modal_projector
    for stage, (conv, blocks) in enumerate(zip(tower.convs, tower.blocks)):
        hooks.output(conv, dump, f'vision.stage{stage}.conv_embed')
        for i, pair in enumerate(blocks):
            for kind, attention in (('spatial', 'window_attn'), ('channel', 'channel_attn')):
                block, at = getattr(pair, f'{kind}_block'), f'vision.stage{stage}.block{i}.{kind}'
                hooks.output(block.conv1, dump, f'{at}.conv1')
                hooks.output(getattr(block, attention), dump, f'{at}.attn')
                hooks.output(block.conv2, dump, f'{at}.conv2')
                hooks.output(block.ffn, dump, f'{at}.ffn')
                hooks.output(block, dump, f'{at}.out')
    hooks.output(projector.image_position_embed, dump, 'projector.pos_embed')
    hooks.output(projector.visual_temporal_embed, dump, 'projector.temporal_embed')
    hooks.input(projector.image_projection, dump, 'projector.pooled')
    hooks.output(projector.image_projection, dump, 'projector.projected')
    hooks.output(projector, dump, 'projector.image_features')


def hook_language(hooks, model, dump):
    hooks.input(model.encoder, dump, 'encoder.inputs_embeds')
    for side, stack in (('encoder', model.encoder), ('decoder', model.decoder)):
        hooks.output(stack.layernorm_embedding, dump, f'{side}.embed')
        for i, layer in enumerate(stack.layers):
            at = f'{side}.layer{i}'
            attentions = [('self_attn', layer.self_attn, layer.self_attn_layer_norm)]
            if side == 'decoder':
                attentions.append(('cross_attn', layer.encoder_attn, layer.encoder_attn_layer_norm))
            for name, attention, norm in attentions:
                hooks.output(attention, dump, f'{at}.{name}')
                hooks.output(attention, dump, f'{at}.{name}_weights', part=1)
                hooks.output(norm, dump, f'{at}.{name}_norm')
            hooks.output(layer.fc2, dump, f'{at}.ffn')
            hooks.output(layer, dump, f'{at}.out')


def run_steps(model, inputs, dump, steps):
    """Runs the decoder token by token and dumps its caches and logits at each step."""
    given = with_image(model, inputs)
    with torch.no_grad():
        first = model(**given, decoder_input_ids=inputs['decoder_input_ids'][:, :1])
        encoded, past = BaseModelOutput(first.encoder_last_hidden_state), None
        for step in range(steps):
            out = model(
                encoder_outputs=encoded,
                attention_mask=given['attention_mask'],
                decoder_input_ids=inputs['decoder_input_ids'][:, step : step + 1],
                past_key_values=past,
                use_cache=True,
            )
            past = out.past_key_values
            for i, layer in enumerate(past.self_attention_cache.layers):
                dump.put(f'step{step}.layer{i}.self.key', layer.keys)
                dump.put(f'step{step}.layer{i}.self.value', layer.values)
            if step == 0:
                for i, layer in enumerate(past.cross_attention_cache.layers):
                    dump.put(f'layer{i}.cross.key', layer.keys)
                    dump.put(f'layer{i}.cross.value', layer.values)
            dump.put(f'step{step}.logits', out.logits)


# ------------------------------------------------------------------------------------------- answers


def checkpoint_settings(folder):
    """Returns the generation settings of generation_config.json; the defaults are Florence-2's."""
    own = dict(num_beams=3, early_stopping=True, length_penalty=1.0, no_repeat_ngram_size=3)
    own |= dict(forced_bos_token_id=0, forced_eos_token_id=2)
    file = folder / 'generation_config.json'
    said = json.loads(file.read_text()) if file.exists() else {}
    counts = lambda name: said.get(name) is not None or name in said and name.startswith('forced_')  # null means none
    return {name: said[name] if counts(name) else own[name] for name in own}


def generate_cases(model, inputs, settings, max_new_tokens):
    greedy = {name: settings[name] for name in ('no_repeat_ngram_size', 'forced_bos_token_id', 'forced_eos_token_id')}
    cases = {'greedy': dict(num_beams=1, **greedy), 'beam3': {**settings, 'num_beams': 3}}
    if settings['num_beams'] not in (1, 3):
        cases[f'beam{settings["num_beams"]}'] = settings
    return {name: generate_case(model, inputs, name, case, max_new_tokens) for name, case in cases.items()}


def generate_case(model, inputs, name, settings, max_new_tokens):
    """Generates an answer. Shortens it until float32 and float64 agree, if rounding decides about a token."""
    args = {**settings, 'max_new_tokens': max_new_tokens}
    while True:
        single = generate(model.float(), inputs, args)
        double = generate(model.double(), inputs, args)
        model.float()
        if single.sequences.tolist() == double.sequences.tolist():
            break
        if args['max_new_tokens'] == 1:
            fail(f'{name}: float32 and float64 disagree about the first token.')
        args['max_new_tokens'] = max(1, args['max_new_tokens'] // 2)
        print(f'{name}: rounding decides about a token. Retrying with at most {args["max_new_tokens"]} tokens.', file=sys.stderr)
    case = {'args': args, 'encoder_mask': 'attention_mask', 'sequences': single.sequences.tolist()}
    if args['num_beams'] > 1:
        case['sequences_scores'] = single.sequences_scores.tolist()
        case['sequences_scores_fp64'] = double.sequences_scores.tolist()
    return case


def generate(model, inputs, args):
    text = model.config.text_config
    ids = dict(bos_token_id=text.bos_token_id, pad_token_id=text.pad_token_id, eos_token_id=text.eos_token_id)
    config = GenerationConfig(
        **ids,
        **args,
        decoder_start_token_id=text.decoder_start_token_id,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    with torch.no_grad():
        return model.generate(**with_image(model, inputs), generation_config=config)


# ------------------------------------------------------------------------------------------- files


def write(path, tensors, precision):
    """Saves tensors, and returns their entries of the manifest."""
    save_file(tensors, path)
    rows = []
    for name, tensor in tensors.items():
        row = dict(name=name, shape=list(tensor.shape), dtype=str(tensor.dtype).removeprefix('torch.'))
        if tensor.is_floating_point():
            row['rms'] = tensor.double().pow(2).mean().sqrt().item()
        if name in precision:
            row['fp32_vs_fp64_max_abs'] = precision[name]
        rows.append(row)
    return rows


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + '\n')


def first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def fail(message):
    sys.exit(f'dump_torch.py: {message}')


def parse_args():
    parser = argparse.ArgumentParser(
        description='Dumps what PyTorch computes from a Florence-2 checkpoint, for `florence2 parity OUT` to compare '
        'layer by layer and token by token.',
        epilog='The manifest refers to the checkpoint by its absolute path, so do not move it: weights are not copied. '
        'OUT takes about 1 GB for a model of the size of Florence-2-base, 2 GB for large.',
    )
    parser.add_argument('model', metavar='MODEL', help="a folder in transformers' or Microsoft's layout, or a hub id")
    parser.add_argument('image', metavar='IMAGE', help='an image file')
    parser.add_argument('out', metavar='OUT', help='the folder to write')
    parser.add_argument('--task', required=True, help='a task token ("<OD>"), or a prompt of your own')
    parser.add_argument('--text', default='', help='input text of the task; for a region, its location tokens')
    parser.add_argument('--max-new-tokens', type=int, default=128, help='longest answer (default %(default)s)')
    return parser.parse_args()


if __name__ == '__main__':
    main(parse_args())
