import type { ImageFeatures } from '../image/features.ts';
import { type Call, type SessionOptions, startSession } from './call.ts';
import { tokenSteps } from './generate.ts';

/** A token of an answer. `text` is the text that it completes: a character may consist of several tokens. */
export interface StreamedToken {
  token: number;
  text: string;
  /** Log-probability of the token; 0 if it was forced. */
  logProb: number;
}

/**
 * Generates an answer without beams and yields each token as it is generated, except `<s>`, `<pad>` and the end token.
 *
 * @param prompt a prompt without a task token
 * @throws UsageError for wrong options; the signal's reason
 */
export async function* streamTokens(
  call: Call,
  features: ImageFeatures,
  prompt: string,
  options: SessionOptions,
): AsyncGenerator<StreamedToken, void> {
  const single = { ...options, numBeams: 1, numReturnSequences: 1 };
  const { signal, settings, session } = startSession(call, [features], [prompt], single);
  try {
    const decoded = call.tokenizer.stream();
    for await (const [{ token, logProb, ended }] of tokenSteps(session, settings, signal)) {
      const frame = call.tokenizer.isFrame(token) || settings.eosTokenIds.includes(token);
      const text = (frame ? '' : decoded.push(token)) + (ended ? decoded.end() : '');
      if (!frame || text !== '') yield { token, logProb, text };
    }
  } finally {
    session.dispose();
  }
}
