"""The engine of peers.ts for PyTorch and transformers, eager, fp32.

    python bench/peers/pytorch.py CHECKPOINT PICTURE

Runs one job for each line on stdin; see job.ts.
"""

import json, os, resource, sys, time, warnings

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoTokenizer, Florence2ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

transformers.utils.logging.disable_progress_bar()
warnings.simplefilter('ignore')
torch.set_num_threads(os.cpu_count())
SIDE = 768
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def main(folder, picture):
    start = time.perf_counter()
    model = Florence2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    AutoTokenizer.from_pretrained(folder)
    load = time.perf_counter() - start
    say(load=load, engine='PyTorch', torch=torch.__version__, transformers=transformers.__version__)
    engine = Engine(model, picture)
    for line in sys.stdin:
        job = json.loads(line)
        say(**getattr(engine, job.pop('what'))(**job))
    say(peakRss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


def say(**message):
    print(json.dumps(message), flush=True)


class Engine:
    def __init__(self, model, picture):
        self.model = model
        self.picture = picture
        self.prompt = torch.tensor([json.loads(os.environ['PROMPT_IDS'])])
        pattern = (31 * np.arange(3 * SIDE * SIDE) % 251).astype(np.uint8).reshape(SIDE, SIDE, 3)
        self.pixels = normalised(pattern)
        self.features = self.see(self.pixels)

    def see(self, pixels):
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    def read(self, features, ids):
        language = self.model.model.language_model
        embeds = torch.cat([features, language.shared(ids).expand(len(features), -1, -1)], 1)
        return language.encoder(inputs_embeds=embeds).last_hidden_state

    def answer(self, states, tokens):
        """Decodes equal rows greedily. Returns the first row's tokens, and seconds per token without the first step."""
        newest = torch.full((len(states), 1), 2)
        cache, ids = None, []
        for position in range(tokens):
            if position == 1:
                start = time.perf_counter()
            out = self.model(
                decoder_input_ids=newest, encoder_outputs=BaseModelOutput(last_hidden_state=states),
                past_key_values=cache, use_cache=True,
            )  # fmt: skip
            cache = out.past_key_values
            newest = out.logits[:, -1].argmax(-1, keepdim=True)
            if position == 0:
                newest.fill_(0)  # Florence-2 forces <s> first
            ids.append(newest[0, 0].item())
        return ids, (time.perf_counter() - start) / (tokens - 1)

    def vision(self, batch):
        pixels = self.pixels.expand(batch, -1, -1, -1).contiguous()
        start = time.perf_counter()
        self.see(pixels)
        return dict(seconds=time.perf_counter() - start)

    def encoder(self, batch):
        start = time.perf_counter()
        self.read(self.features.expand(batch, -1, -1), torch.full((1, 10), 100))
        return dict(seconds=time.perf_counter() - start)

    def decode(self, batch, tokens, beams=1):
        states = self.read(self.features, self.prompt).expand(batch * beams, -1, -1).contiguous()
        ids, seconds = self.answer(states, tokens)
        return dict(seconds=seconds, ids=ids)

    def file(self, batch, tokens, beams=1):
        start = time.perf_counter()
        image = Image.open(self.picture).convert('RGB').resize((SIDE, SIDE), Image.BICUBIC)
        states = self.read(self.see(normalised(np.asarray(image))), self.prompt)
        self.answer(states.expand(beams, -1, -1).contiguous(), tokens)
        return dict(seconds=time.perf_counter() - start)


def normalised(image):
    pixels = (torch.from_numpy(np.array(image)) / 255 - MEAN) / STD
    return pixels.permute(2, 0, 1)[None].contiguous()


if __name__ == '__main__':
    with torch.inference_mode():
        main(*sys.argv[1:])
