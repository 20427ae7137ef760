"""Times Florence-2 in PyTorch and transformers on a GPU, in the same way as run.ts:

    python bench/gpu_torch.py CHECKPOINT [--dtype float32|bfloat16] [--batch 1,8] [--tokens 50] [--rounds 3]

CHECKPOINT is in transformers' layout (tools/random_checkpoint.ts --layout native). Eager, greedy, with a cache; each
answer has --tokens tokens. Prints the figures and the machine as JSON.
"""

import argparse, json, statistics, time, warnings

import torch
import transformers
from transformers import Florence2ForConditionalGeneration

transformers.utils.logging.disable_progress_bar()
warnings.simplefilter('ignore')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('checkpoint')
    parser.add_argument('--dtype', default='float32')
    parser.add_argument('--batch', default='1,8')
    parser.add_argument('--tokens', type=int, default=50)
    parser.add_argument('--rounds', type=int, default=3)
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    model = Florence2ForConditionalGeneration.from_pretrained(options.checkpoint, dtype=dtype).cuda().eval()
    figures = {}
    with torch.inference_mode():
        for batch in map(int, options.batch.split(',')):
            pixels = torch.randn(batch, 3, 768, 768, device='cuda', dtype=dtype)
            vision = median_ms(lambda: model.get_image_features(pixel_values=pixels), options.rounds)
            figures[f'vision ms, batch {batch}'] = vision
            ids = prompt(model, batch)
            decode = lambda tokens: model.generate(
                input_ids=ids, pixel_values=pixels, num_beams=1, do_sample=False, no_repeat_ngram_size=0,
                min_new_tokens=tokens, max_new_tokens=tokens,
            )  # fmt: skip
            first = median_ms(lambda: decode(1), options.rounds)
            all_tokens = median_ms(lambda: decode(options.tokens), options.rounds)
            figures[f'greedy ms/token, {options.tokens} tokens, batch {batch}'] = (all_tokens - first) / (options.tokens - 1)
    machine = dict(gpu=torch.cuda.get_device_name(), torch=torch.__version__, transformers=transformers.__version__)
    print(json.dumps(dict(engine='PyTorch', dtype=options.dtype, machine=machine, figures=figures)))


def prompt(model, batch):
    """Returns prompt ids: the image's tokens and ten text tokens."""
    features = model.get_image_features(pixel_values=torch.zeros(1, 3, 768, 768, device='cuda', dtype=model.dtype))
    features = getattr(features, 'pooler_output', features)
    image = torch.full((batch, features[0].shape[-2]), model.config.image_token_id)
    return torch.cat([image, torch.full((batch, 10), 100)], 1).cuda()


def median_ms(body, rounds):
    times = []
    for _ in range(rounds + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        body()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[1:])


if __name__ == '__main__':
    main()
