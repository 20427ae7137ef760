import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/**
 * Adds tokens to a model and its tokenizer, as transformers does with `add_tokens` and `resize_token_embeddings`, so
 * that a word or mark of the user's own is one token. Each begins as the mean of the embeddings of all tokens before it
 * (`mean_resizing` of transformers draws around this mean), and has to be trained. Spare rows of the table are used
 * first; then it grows, as do the output layer and its bias. Texts that are tokens already are passed over.
 *
 * Encoding breaks a text wherever a new token stands in it, in the middle of words too: choose texts that occur nowhere
 * else, such as `<weld>`.
 *
 * @returns how many tokens were new
 * @throws UsageError for an empty text, and while an adapter is active, which was built for the table as it is
 */
export function addTokens(
  { model, tokenizer }: { model: Florence2Model; tokenizer: Tokenizer },
  tokens: readonly string[],
): number {
  const { lmHead, languageModel, config } = model;
  if (tokens.some(token => token.trim() === '')) throw new UsageError('A new token must have a character to be seen.');
  const fresh = [...new Set(tokens)].filter(token => tokenizer.tokenToId(token) === undefined);
  if (fresh.length === 0) return 0;
  if (lmHead.adapters || lmHead.weight.override || languageModel.shared.weight.override) {
    throw new UsageError('New tokens cannot be added while an adapter of the embeddings or the head is active.');
  }
  const first = Math.max(tokenizer.size, (config.imageTokenId ?? -1) + 1); // <image> is not always in the files
  tokenizer.addTokens(fresh, first);
  model.addTokenRows(first, fresh.length);
  return fresh.length;
}
