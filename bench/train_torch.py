"""PyTorch's side of train.ts, with transformers and PEFT: takes one step for each line on stdin.

    python bench/train_torch.py CHECKPOINT lora|full BATCH

Prints JSON: { ready }, then { loss, seconds } for each step, and { peakRss } in MB when stdin ends. Requires
tools/interop/requirements.txt.
"""

import functools, json, os, resource, sys, time, warnings

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch.utils.checkpoint import checkpoint
from transformers import Florence2Config, Florence2ForConditionalGeneration

transformers.utils.logging.disable_progress_bar()
warnings.simplefilter('ignore')
torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', os.cpu_count())))


def main(folder, kind, batch):
    model = load(folder)
    if kind == 'lora':
        model = add_lora(model)
    else:
        checkpoint_blocks(model)
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4 if kind == 'lora' else 1e-5, weight_decay=0.01, fused=True)
    inputs = read_inputs(folder, model.config, batch)
    say(ready=True, torch=torch.__version__, transformers=transformers.__version__, threads=torch.get_num_threads())
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        say(loss=loss.item(), seconds=time.perf_counter() - start)
    say(peakRss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def say(**message):
    print(json.dumps(message), flush=True)


def load(folder):
    """Loads the model with all dropout disabled."""
    config = Florence2Config.from_pretrained(folder)
    config.vision_config.drop_path_rate = 0.0
    for name in ('dropout', 'attention_dropout', 'activation_dropout'):
        setattr(config.text_config, name, 0.0)
    return Florence2ForConditionalGeneration.from_pretrained(folder, config=config, dtype=torch.float32)


def add_lora(model):
    targets = r'.*language_model\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)'
    return get_peft_model(model, LoraConfig(r=8, lora_alpha=8, target_modules=targets))


def checkpoint_blocks(model):
    """Enables gradient checkpointing. transformers does so for the language model only, so the vision blocks are wrapped."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={'use_reentrant': False})
    for block in [block for stage in model.model.vision_tower.blocks for block in stage]:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)


def read_inputs(folder, config, batch):
    tensors = load_file(os.path.join(folder, 'inputs.safetensors'))
    repeat = lambda tensor: tensor.repeat(batch, *[1] * (tensor.dim() - 1))
    pixels = repeat(tensors['pixel_values'])
    features = 1 + (pixels.shape[-1] // 32) * (pixels.shape[-2] // 32)
    image = torch.full((batch, features), config.image_token_id)
    prompt = torch.cat([image, repeat(tensors['prompt_ids']).long()], 1)
    return dict(input_ids=prompt, pixel_values=pixels, labels=repeat(tensors['labels']).long())


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
