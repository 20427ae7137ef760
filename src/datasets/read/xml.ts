import { createReadStream } from 'node:fs';
import { SaxesParser } from 'saxes';
import { Florence2Error, UsageError } from '../../errors.ts';
import { fileError } from '../../files/errors.ts';
import { requireFile } from '../../files/whole_file.ts';
import { show } from '../../show.ts';

/** An element of an XML file with all that it contains. */
export interface XmlElement {
  name: string;
  attributes: Record<string, string>;
  children: XmlElement[];
  /** Its text, trimmed, without that of its children. */
  text: string;
  /** Line of the opening tag, from 1. */
  line: number;
}

/** Most elements inside one another. */
const DEEPEST = 64;

/** Most characters of an element that is kept as a whole. */
const LARGEST = 256 << 20;

/**
 * Yields the elements of an XML file at a depth, as soon as each is complete: 0 is the root, 1 its children. The file is
 * streamed, so it may be larger than the memory. Entities that a document type declares are refused, so they cannot grow.
 *
 * @param onRoot called with the name of the root when it is opened
 * @throws Florence2Error that names the file and line
 */
export async function* readXml(
  file: string,
  depth: number,
  onRoot: (name: string) => void = () => undefined,
): AsyncGenerator<XmlElement, void> {
  const complete: XmlElement[] = [];
  const open: XmlElement[] = [];
  let kept = 0;
  const parser = new SaxesParser<{ xmlns: false }>({ xmlns: false });
  const addText = (text: string): void => {
    if (open.length <= depth) return;
    kept += text.length;
    if (kept > LARGEST)
      throw new Florence2Error(`${file}:${parser.line}: An element is larger than ${LARGEST} characters.`);
    open.at(-1)!.text += text;
  };
  let line = 1;
  parser.on('opentagstart', () => {
    line = parser.line;
  });
  parser.on('opentag', ({ name, attributes }) => {
    if (open.length === 0) onRoot(name);
    if (open.length > DEEPEST) {
      throw new Florence2Error(`${file}:${line}: More than ${DEEPEST} elements are inside one another.`);
    }
    const element = { name, attributes, children: [], text: '', line };
    if (open.length > depth) open.at(-1)!.children.push(element);
    open.push(element);
  });
  parser.on('closetag', () => {
    const element = open.pop()!;
    element.text = element.text.trim();
    if (open.length !== depth) return;
    kept = 0;
    complete.push(element);
  });
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.on('error', error => {
    const [, at, message] = /^(\d+):\d+: (.*)$/s.exec(error.message) ?? ['', parser.line, error.message];
    throw new Florence2Error(`${file}:${at}: The file is not XML: ${message.replace(/\.$/, '')}.`, { cause: error });
  });
  try {
    await requireFile(file);
    for await (const chunk of createReadStream(file, 'utf8') as AsyncIterable<string>) {
      parser.write(chunk);
      yield* complete.splice(0);
    }
    parser.close();
    yield* complete.splice(0);
  } catch (error) {
    throw fileError(file, error);
  }
}

/** Returns the first child of a name. */
export const childOf = (element: XmlElement | undefined, name: string): XmlElement | undefined =>
  element?.children.find(child => child.name === name);

/** Returns a finite number of an element's text or attribute. @throws UsageError that names it */
export function numberOf(text: string | undefined, name: string): number {
  const value = Number(text);
  if (text !== undefined && text.trim() !== '' && Number.isFinite(value)) return value;
  throw new UsageError(`${name} is ${show(text)}, expected a number.`);
}
