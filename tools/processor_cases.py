"""Writes test/generation/processor_cases.jsonl: scores processed by transformers' logits processors, and answers of its
`generate` with a model whose next token depends on the newest one and its position.

    pip install torch==2.15.0 transformers==5.23.0
    python tools/processor_cases.py > test/generation/processor_cases.jsonl
"""

import json
import math

import torch
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

NAMES = {
    "numBeams": "num_beams", "maxNewTokens": "max_new_tokens", "minNewTokens": "min_new_tokens",
    "earlyStopping": "early_stopping", "lengthPenalty": "length_penalty", "noRepeatNgramSize": "no_repeat_ngram_size",
    "repetitionPenalty": "repetition_penalty", "badWords": "bad_words_ids", "doSample": "do_sample",
    "temperature": "temperature", "topK": "top_k", "topP": "top_p", "minP": "min_p",
    "forcedBosTokenId": "forced_bos_token_id", "forcedEosTokenId": "forced_eos_token_id",
    "eosTokenIds": "eos_token_id", "numReturnSequences": "num_return_sequences",
}  # fmt: skip
START = 2


class Toy(PreTrainedModel, GenerationMixin):
    """Returns the sum of the newest token's row in a table of logits and of its position's row in another."""

    config_class = PretrainedConfig

    def __init__(self, tokens, positions):
        super().__init__(PretrainedConfig(vocab_size=len(tokens)))
        self.tokens = torch.nn.Parameter(tokens)
        self.positions = torch.nn.Parameter(positions)

    def forward(self, input_ids, **_):
        return CausalLMOutput(logits=self.tokens[input_ids] + self.positions[: input_ids.shape[1]])

    def prepare_inputs_for_generation(self, input_ids, **_):
        return {"input_ids": input_ids}


def config(settings):
    given = {NAMES[name]: value for name, value in settings.items()}
    return GenerationConfig(**{"eos_token_id": [2], "pad_token_id": 1, "use_cache": False, "top_k": 0} | given)


def rounded(values):
    return [None if math.isinf(value) else round(value, 5) for value in values]


def scores_case(settings, seed, size=30, length=12):
    """Processes random logits after a random sequence."""
    random = torch.Generator().manual_seed(seed)
    logits = (torch.randn(1, size, generator=random) * 2).round(decimals=4)
    sequence = [START] + torch.randint(3, size // 2, (length - 1,), generator=random).tolist()
    model, generation = Toy(logits, logits), config(settings)
    generation._eos_token_tensor = torch.tensor(generation.eos_token_id)
    processors = model._get_logits_processor(generation, input_ids_seq_length=1)
    scores = logits.log_softmax(-1) if settings.get("numBeams", 1) > 1 else logits
    processed = processors(torch.tensor([sequence]), scores)
    case = {"settings": settings, "sequence": sequence, "logits": rounded(logits[0].tolist())}
    return case | {"scores": rounded(processed[0].tolist())}


def answers_case(settings, seed, size=12):
    random = torch.Generator().manual_seed(seed)
    tokens = (torch.randn(size, size, generator=random) * 1.5).round(decimals=3)
    positions = torch.randn(10, size, generator=random).round(decimals=3)
    tokens[:, 2] += 0.7
    settings = {"maxNewTokens": 10, "numReturnSequences": settings["numBeams"], **settings}
    out = Toy(tokens, positions).generate(
        torch.tensor([[START]]), generation_config=config(settings), return_dict_in_generate=True, output_scores=True
    )
    ends = settings.get("eosTokenIds", [2])
    answers = []
    for row in out.sequences.tolist():
        end = next((i for i, token in enumerate(row) if i > 0 and token in ends), len(row))
        answers.append(row[: end + 1])
    tables = [[rounded(row) for row in table.tolist()] for table in (tokens, positions)]
    case = {"settings": settings, "tokens": tables[0], "positions": tables[1], "answers": answers}
    return case | ({"scores": rounded(out.sequences_scores.tolist())} if settings["numBeams"] > 1 else {})


BEAMS = {"numBeams": 3}
TWO_ENDS = {"eosTokenIds": [2, 7]}
SAMPLE = {"doSample": True}
PROCESSORS = [
    {"repetitionPenalty": 1.7}, {"repetitionPenalty": 0.6}, {"noRepeatNgramSize": 1}, {"noRepeatNgramSize": 2},
    {"badWords": [[5], [9]]}, {"badWords": [[2], [5]]}, {"minNewTokens": 20}, {"minNewTokens": 11}, {"minNewTokens": 20, **TWO_ENDS},
    {"repetitionPenalty": 1.4, "noRepeatNgramSize": 2, "badWords": [[4]], "minNewTokens": 30},
]  # fmt: skip
WARPERS = [
    {"temperature": 0.5}, {"temperature": 1.8}, {"topK": 1}, {"topK": 7}, {"topK": 100}, {"topP": 0.3}, {"topP": 0.8},
    {"topP": 0.999}, {"topP": 0.0}, {"minP": 0.05}, {"minP": 0.3}, {"minP": 1.0}, {"temperature": 0.7, "topK": 9, "topP": 0.9, "minP": 0.1},
    {"temperature": 1.3, "topP": 0.5, "minP": 0.2, "repetitionPenalty": 1.2, "noRepeatNgramSize": 2, "badWords": [[3]]},
]  # fmt: skip
SEARCHES = [
    {"repetitionPenalty": 1.3}, {"repetitionPenalty": 2.0, "noRepeatNgramSize": 2}, {"badWords": [[5], [6, 8], [3, 4, 9]]},
    {"minNewTokens": 6}, TWO_ENDS, {"minNewTokens": 4, **TWO_ENDS, "lengthPenalty": 2.0},
    {"forcedBosTokenId": 0, "forcedEosTokenId": 2, "noRepeatNgramSize": 3, "repetitionPenalty": 1.2, "minNewTokens": 3},
]  # fmt: skip

scores = [scores_case({**way, **rules}, 31 * i) for way in ({}, BEAMS) for i, rules in enumerate(PROCESSORS)]
scores += [
    scores_case({**SAMPLE, **way, **rules}, 1000 + 31 * i)
    for way in ({}, BEAMS, {**BEAMS, **TWO_ENDS})
    for i, rules in enumerate(WARPERS)
]
# A word of several tokens is banned where the sequence ends with its beginning.
sequence = scores[0]["sequence"]
scores += [scores_case({"badWords": [[*sequence[-2:], 6], [sequence[-1], 8], [sequence[-2], 11]]}, 0)]
scores += [scores_case({**SAMPLE, "topK": 50, "topP": 0.9}, 5, size=400)]
answers = [
    answers_case({"numBeams": beams, **rules}, 7 * i + seed)
    for beams in (1, 3)
    for i, rules in enumerate(SEARCHES)
    for seed in (0, 1)
]
for case in scores + answers:
    print(json.dumps(case))
