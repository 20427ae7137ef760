import { tokenBytes } from '../src/text/byte_level.ts';
import { TASKS } from '../src/text/tasks.ts';
import { FLORENCE2_TOKENS } from '../src/text/tokenizer_json.ts';

export interface TokenizerFiles {
  /** tokenizer.json */
  json: object;
  /** tokenizer_config.json */
  config: object;
  /** Number of tokens. */
  size: number;
}

/**
 * Returns a small tokenizer for tiny checkpoints: byte-level BPE with `merges` merges learnt from the task prompts and
 * the words below, followed by Florence-2's 1,024 special tokens.
 */
export function tinyTokenizer(merges: number): TokenizerFiles {
  const { pairs, tokens } = learnMerges(merges);
  return tokenizerFiles(tokens, { merges: pairs });
}

/**
 * Returns a tokenizer with one token for each word of the texts, in the forms that occur (with and without a leading
 * space). Other words are spelt in bytes. So are words in capitals, so that OCR spells what it reads.
 */
export function wordTokenizer(texts: Iterable<string>): TokenizerFiles {
  const found = new Set<string>();
  for (const text of texts) {
    for (const word of wordsOf(text)) if (!/^ ?\p{Lu}{2,}$/u.test(word)) found.add(byteLevel(word).join(''));
  }
  const tokens = new Set([...byteCharacters, ...[...found].sort()]); // a set, because punctuation marks occur in both
  return tokenizerFiles([...tokens], { merges: [], ignore_merges: true });
}

/** Returns the files of a byte-level BPE with Florence-2's special tokens. */
function tokenizerFiles(
  tokens: string[],
  bpe: { merges: [string, string][]; ignore_merges?: boolean },
): TokenizerFiles {
  const base = ['<s>', '<pad>', '</s>', '<unk>', ...tokens, '<mask>'];
  const ids = [...base, ...FLORENCE2_TOKENS];
  const special = [...base.slice(0, 4), '<mask>', ...FLORENCE2_TOKENS];
  const addedTokens = special.map(content => ({
    ...{ id: ids.indexOf(content), content, single_word: false, lstrip: content === '<mask>', rstrip: false },
    ...{ normalized: !FLORENCE2_TOKENS.includes(content), special: true },
  }));
  const json = {
    ...{ version: '1.0', truncation: null, padding: null, added_tokens: addedTokens, normalizer: null },
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true },
    post_processor: {
      ...{ type: 'RobertaProcessing', sep: ['</s>', 2], cls: ['<s>', 0], trim_offsets: true, add_prefix_space: false },
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true },
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: '', end_of_word_suffix: '' },
      ...{ fuse_unk: false, vocab: Object.fromEntries(base.map((token, id) => [token, id])), ...bpe },
    },
  };
  const config = {
    ...{ tokenizer_class: 'BartTokenizer', add_prefix_space: false, errors: 'replace', model_max_length: 1024 },
    ...{
      bos_token: '<s>',
      eos_token: '</s>',
      pad_token: '<pad>',
      unk_token: '<unk>',
      cls_token: '<s>',
      sep_token: '</s>',
    },
    ...{ mask_token: '<mask>', clean_up_tokenization_spaces: false },
  };
  return { json, config, size: ids.length };
}

const words = `a an the this that in on at of with and or to is are there one two three four five six image picture photo
scene shows showing shape shapes object objects background foreground white black red green blue yellow orange purple
pink brown gray dark light small large big tall wide round square circle triangle rectangle star cross ellipse line left
right top bottom middle center corner above below behind under next front near between side man woman person people
child dog cat bird horse car bus truck bicycle boat train plane house building window door wall floor roof table chair
tree grass sky water road street sign text word letter number book bottle cup ball hat shirt hand face eye head field
standing sitting holding wearing looking riding walking playing filled empty striped long short old young new`;

/** The character of each byte in byte-level BPE. */
const byteCharacters: readonly string[] = (() => {
  const characters: string[] = [];
  for (let code = 0x21; code < 0x144; code++) {
    const bytes = tokenBytes(String.fromCharCode(code));
    if (bytes.length === 1) characters[bytes[0]] = String.fromCharCode(code);
  }
  return characters;
})();

const byteLevel = (text: string): string[] => Array.from(new TextEncoder().encode(text), byte => byteCharacters[byte]);

/** Splits a text as the tokenizer does before merging. */
const wordsOf = (text: string): string[] => text.match(/ ?\p{L}+| ?[^\s\p{L}]+/gu) ?? [];

/** Learns byte-pair encoding (Sennrich et al. 2016): repeatedly merges the most frequent pair of tokens. */
function learnMerges(count: number): { pairs: [string, string][]; tokens: string[] } {
  const prompts = TASKS.map(({ prompt }) => prompt.replace('{input}', ''));
  const corpus = [...prompts, ...words.split(/\s+/).flatMap(word => [` ${word}`, ` ${word}`, word])];
  const split = corpus.flatMap(wordsOf).map(byteLevel);
  const pairs: [string, string][] = [];
  while (pairs.length < count) {
    const best = mostFrequentPair(split);
    if (!best) break;
    pairs.push(best);
    for (const tokens of split) merge(tokens, best);
  }
  return { pairs, tokens: [...byteCharacters, ...pairs.map(pair => pair.join(''))] };
}

function mostFrequentPair(split: string[][]): [string, string] | undefined {
  const counts = new Map<string, { pair: [string, string]; count: number }>();
  for (const tokens of split) {
    for (let i = 0; i + 1 < tokens.length; i++) {
      const pair: [string, string] = [tokens[i], tokens[i + 1]];
      const entry = counts.get(pair.join(' ')) ?? { pair, count: 0 };
      entry.count++;
      counts.set(pair.join(' '), entry);
    }
  }
  let best: { pair: [string, string]; count: number } | undefined;
  for (const entry of counts.values()) if (entry.count > (best?.count ?? 1)) best = entry;
  return best?.pair;
}

function merge(tokens: string[], [a, b]: [string, string]): void {
  for (let i = 0; i + 1 < tokens.length; i++) if (tokens[i] === a && tokens[i + 1] === b) tokens.splice(i, 2, a + b);
}
