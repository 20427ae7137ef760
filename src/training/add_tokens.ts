import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { anyText, checkKind, listOf } from '../options.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/**
 * Adds tokens to a model and its tokenizer, like `add_tokens` and `resize_token_embeddings` of transformers. Each new
 * embedding is the mean of the embeddings of all earlier tokens (transformers' `mean_resizing` samples around this
 * mean) and must be trained. Spare rows of the embedding table are used first; then the table, the output layer and its
 * bias grow. Existing tokens are skipped.
 *
 * The tokenizer splits text at every occurrence of a new token, even inside a word: choose strings that occur nowhere
 * else, such as `<weld>`.
 *
 * @returns the number of tokens added
 * @throws UsageError for a blank token, or while an adapter of the embeddings or the head is active
 */
export function addTokens(
  { model, tokenizer }: { model: Florence2Model; tokenizer: Tokenizer },
  tokens: readonly string[],
): number {
  const { lmHead, languageModel, config } = model;
  checkKind('tokens', tokens, listOf(anyText, 'texts'));
  if (tokens.some(token => token.trim() === '')) throw new UsageError('A new token must contain a visible character.');
  const fresh = [...new Set(tokens)].filter(token => tokenizer.tokenToId(token) === undefined);
  if (fresh.length === 0) return 0;
  if (
    lmHead.adapters ||
    lmHead.weight.override ||
    languageModel.shared.weight.override ||
    languageModel.answers.weight.override
  ) {
    throw new UsageError(
      'New tokens cannot be added while an adapter of the embeddings or the head is active: deactivate it first.',
    );
  }
  const first = Math.max(tokenizer.size, (config.imageTokenId ?? -1) + 1); // some tokenizer files lack <image>
  tokenizer.addTokens(fresh, first);
  model.addTokenRows(first, fresh.length);
  return fresh.length;
}
