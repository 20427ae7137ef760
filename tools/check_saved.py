"""Loads a checkpoint that `florence2 export --safetensors OUT --layout native` wrote with transformers' AutoProcessor and
model, answers tasks about an image, and compares the answers with those of `florence2 run --json`:

    npx florence2 export --safetensors OUT -m demo --layout native
    npx florence2 run IMAGE -t caption -m demo --beams 1 --json > ours.jsonl
    python tools/check_saved.py OUT IMAGE ours.jsonl

Needs the packages of tools/dump_torch.requirements.txt and torchvision. Ends with 1 if an answer differs.
"""

import json, sys

import torch
from PIL import Image
from transformers import AutoProcessor, Florence2ForConditionalGeneration


def main(folder, picture, answers):
    processor = AutoProcessor.from_pretrained(folder)
    model, info = Florence2ForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation='eager', output_loading_info=True
    )
    wrong = {kind: names for kind, names in info.items() if names}
    if wrong:
        sys.exit(f'{folder}: {wrong}')
    image = Image.open(picture).convert('RGB')
    equal = True
    for line in open(answers):
        ours = json.loads(line)
        text = ours['task']  # of a task without an input
        inputs = processor(text=text, images=image, return_tensors='pt')
        with torch.no_grad():
            ids = model.generate(**inputs, num_beams=1, max_new_tokens=100)
        answer = processor.batch_decode(ids, skip_special_tokens=False)[0]
        answer = answer.replace('</s>', '').replace('<s>', '').replace('<pad>', '')
        same = answer == ours['answer']
        equal &= same
        print(f'{text}: {"equal" if same else "DIFFERS"}\n  {answer}' + ('' if same else f'\n  {ours["answer"]}'))
    return equal


if __name__ == '__main__':
    sys.exit(0 if main(*sys.argv[1:]) else 1)
