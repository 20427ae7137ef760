/**
 * The byte of each of the 256 printable characters in which byte-level BPE writes tokens (Radford et al. 2019).
 * Printable Latin-1 bytes are written as themselves, the others in order as U+0100 and up; a space is `Ġ`.
 */
const BYTE_OF: ReadonlyMap<string, number> = new Map(
  (() => {
    let next = 256;
    const printable = (b: number) => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b !== 0xad);
    return Array.from({ length: 256 }, (_, b): [string, number] => [String.fromCharCode(printable(b) ? b : next++), b]);
  })(),
);

const encoder = new TextEncoder();

/** Returns the bytes that a token of the vocabulary encodes. A token with other characters encodes its UTF-8. */
export function tokenBytes(token: string): Uint8Array {
  const bytes = Array.from(token, character => BYTE_OF.get(character));
  return bytes.every(byte => byte !== undefined) ? Uint8Array.from(bytes as number[]) : encoder.encode(token);
}

/**
 * Decodes tokens to text one at a time. A character whose bytes are split over tokens is returned with the last of
 * them. Bytes that are not UTF-8 become U+FFFD, one for each maximal invalid part.
 */
export class ByteLevelDecoder {
  private readonly utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

  /** Returns the text that `token` completes, which may be empty. */
  push(token: string): string {
    return this.utf8.decode(tokenBytes(token), { stream: true });
  }

  /** Ends a sequence of tokens. Returns U+FFFD for an incomplete character, else an empty string. */
  end(): string {
    return this.utf8.decode();
  }
}
