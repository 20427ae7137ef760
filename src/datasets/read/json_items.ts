import { createReadStream } from 'node:fs';
import { Florence2Error } from '../../errors.ts';
import { fileError } from '../../files/errors.ts';
import { requireFile } from '../../files/whole_file.ts';

/** Receives an item of a list, or `[name, value]` of an object, with its index and the field of the list or object. */
type ItemHandler = (item: unknown, index: number, field: string) => void;

/** Most characters of one item, and of all that is around the items. */
const LARGEST = 256 << 20;

/**
 * Parses a JSON file item by item: the items of some fields of its object, or those of the file itself if it is a list.
 * The file may be larger than the memory.
 *
 * @param fields whether each field is a list or an object; a field of the other kind is part of the returned value
 * @returns the value of the file, without the items
 * @throws Florence2Error that names the file, and the index of an item that is not JSON
 */
export async function readJsonItems(
  file: string,
  fields: Readonly<Record<string, '[' | '{'>> | '[',
  onItem: ItemHandler,
): Promise<unknown> {
  const splitter = new ItemSplitter(file, fields, onItem);
  try {
    await requireFile(file);
    const chunks = createReadStream(file, { encoding: 'utf8', highWaterMark: 1 << 20 });
    for await (const chunk of chunks as AsyncIterable<string>) splitter.add(chunk);
  } catch (error) {
    throw fileError(file, error);
  }
  return splitter.finish();
}

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Cuts the items out of a text that arrives in parts. The rest of the text is parsed at the end. */
class ItemSplitter {
  private rest = '';
  /** The text from the start of the current item, or of the text around items, and the position to continue at. */
  private text = '';
  private at = 0;
  private depth = 0;
  private inString = false;
  /** The start of the last string, and the last string that is not inside a list or an inner object. */
  private stringStart = 0;
  private name = '';
  /** The field whose items are read, and how many items it had. */
  private field: string | undefined;
  private isObject = false;
  private count = 0;

  constructor(
    private readonly file: string,
    private readonly fields: Readonly<Record<string, '[' | '{'>> | '[',
    private readonly onItem: ItemHandler,
  ) {}

  add(chunk: string): void {
    if (this.text.length + this.rest.length > LARGEST) {
      throw new Florence2Error(
        `${this.file}: An item, or the text around items, is larger than ${LARGEST} characters.`,
      );
    }
    const text = this.text + (this.text === '' && this.rest === '' ? chunk.replace(/^\uFEFF/, '') : chunk);
    let start = 0;
    while (this.at < text.length) {
      if (this.inString) this.skipString(text);
      else start = this.readCharacter(text, start);
    }
    this.text = text.slice(start);
    this.at -= start; // one character after the text, if that ends with a backslash
    this.stringStart -= start;
  }

  finish(): unknown {
    return this.parse(this.rest + this.text, '');
  }

  /** Moves on to the end of a string, or of the text. */
  private skipString(text: string): void {
    while (this.at < text.length) {
      const code = text.charCodeAt(this.at);
      this.at += code === BACKSLASH ? 2 : 1;
      if (code !== QUOTE) continue;
      this.inString = false;
      if (this.field === undefined && this.depth === 1) this.name = text.slice(this.stringStart + 1, this.at - 1);
      return;
    }
  }

  /** Reads a character outside strings. Returns the start of the current item, or of the text around items. */
  private readCharacter(text: string, start: number): number {
    const position = this.at++;
    const code = text.charCodeAt(position);
    if (code === QUOTE) {
      this.inString = true;
      this.stringStart = position;
    } else if (code === OPEN_LIST || code === OPEN_OBJECT) {
      this.depth++;
      if (!this.opens(code)) return start;
      this.rest += text.slice(start, position + 1);
      return position + 1;
    } else if (code === COMMA && this.isBetweenItems()) {
      this.finishItem(text.slice(start, position));
      return position + 1;
    } else if (code === CLOSE_LIST || code === CLOSE_OBJECT) {
      const isEnd = this.isBetweenItems();
      if (isEnd) {
        const item = text.slice(start, position);
        if (this.count > 0 || item.trim() !== '') this.finishItem(item);
        this.field = undefined;
      }
      this.depth--;
      return isEnd ? position : start;
    }
    return start;
  }

  /** Whether a bracket opens a list or an object of which the items are read. */
  private opens(code: number): boolean {
    const isTop = this.fields === '[';
    if (this.field !== undefined || this.depth !== (isTop ? 1 : 2)) return false;
    const { fields, name } = this;
    const wanted = fields === '[' ? fields : Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (wanted !== (code === OPEN_OBJECT ? '{' : '[')) return false;
    this.field = isTop ? '' : name;
    this.isObject = code === OPEN_OBJECT;
    this.count = 0;
    return true;
  }

  private isBetweenItems(): boolean {
    return this.field !== undefined && this.depth === (this.fields === '[' ? 1 : 2);
  }

  private finishItem(text: string): void {
    const value = this.parse(this.isObject ? `{${text.trim() || ','}}` : text, `${this.field}[${this.count}]: `);
    this.onItem(this.isObject ? Object.entries(value as object)[0] : value, this.count++, this.field!);
  }

  private parse(text: string, at: string): unknown {
    try {
      return JSON.parse(text);
    } catch (error) {
      const message = (error as Error).message.replaceAll('\n', ' ');
      throw new Florence2Error(`${this.file} is not JSON: ${at}${message}`, { cause: error });
    }
  }
}
