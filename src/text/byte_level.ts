/**
 * Byte-level BPE writes its tokens in 256 printable characters, one for each byte (Radford et al. 2019): printable
 * Latin-1 bytes stand for themselves, the others for U+0100 and up in their order, so that a space is `Ġ`.
 */
const byteOf: ReadonlyMap<string, number> = new Map(
  (() => {
    let next = 256;
    const printable = (b: number) => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b !== 0xad);
    return Array.from({ length: 256 }, (_, b): [string, number] => [String.fromCharCode(printable(b) ? b : next++), b]);
  })(),
);

const encoder = new TextEncoder();

/** The bytes that a token of the vocabulary stands for. A token in other characters stands for its own UTF-8. */
export function tokenBytes(token: string): Uint8Array {
  const bytes = Array.from(token, character => byteOf.get(character));
  return bytes.every(byte => byte !== undefined) ? Uint8Array.from(bytes as number[]) : encoder.encode(token);
}

/**
 * Tokens to text, one at a time. A character whose bytes are split over tokens appears with the last of them; bytes
 * that are not UTF-8 become U+FFFD, one for each maximal invalid part.
 */
export class ByteLevelDecoder {
  private readonly utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

  /** The text that `token` completes, which may be empty. */
  push(token: string): string {
    return this.utf8.decode(tokenBytes(token), { stream: true });
  }

  /** What is left at the end of a run of tokens: U+FFFD for a character that was cut, else nothing. */
  end(): string {
    return this.utf8.decode();
  }
}
