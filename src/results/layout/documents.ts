import { boundsOf } from '../../geometry/clip.ts';
import type { BoxCoordinates } from '../../geometry/types.ts';
import { anyText, anything, checkKind, type Kind, listOf, objectWith, positive } from '../../options.ts';
import { xmlText } from '../../text/xml.ts';
import type { TextBlock, TextLayout, TextLine } from './reading_order.ts';

/** The text of one image of a document. */
export interface TextPage extends TextLayout {
  /** Path or URL of the image. */
  image: string;
}

const PAGE: Kind = objectWith(
  { image: anyText, width: positive, height: positive, blocks: listOf(anything, 'blocks') },
  'an image with its text, { image, ...readingOrder(quads, size) }',
);

/**
 * Returns pages as an hOCR document (version 1.2): an `ocr_carea` per block, an `ocr_line` per line, and an `ocrx_word`
 * per region of the answer, which is a word or several. `x_wconf` is the region's score in per cent.
 */
export function toHocr(pages: readonly TextPage[]): string {
  checkKind('pages', pages, listOf(PAGE, 'images with their texts, { image, ...readingOrder(quads, size) }'));
  const body = pages.map(({ image, width, height, blocks }, p) => {
    const title = `image ${JSON.stringify(image)}; bbox 0 0 ${width} ${height}; ppageno ${p}`;
    const areas = blocks.map((block, b) => hocrBlock(block, `${p + 1}_${b + 1}`));
    return element('div', { class: 'ocr_page', id: `page_${p + 1}`, title }, areas);
  });
  const head = element('head', {}, [
    element('title', {}, []),
    '<meta http-equiv="Content-Type" content="text/html;charset=utf-8"/>',
    '<meta name="ocr-system" content="florence2-tfjs"/>',
    '<meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_line ocrx_word"/>',
  ]);
  const html = element('html', { xmlns: 'http://www.w3.org/1999/xhtml' }, [head, element('body', {}, body)]);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n${html}\n`;
}

function hocrBlock({ box, angle, lines }: TextBlock, id: string): string {
  const rows = lines.map(({ quad, regions }, l) => {
    // hOCR counts angles counter-clockwise.
    const title = `${hocrBox(boundsOf(quad))}${angle === 0 ? '' : `; textangle ${-angle}`}`;
    const words = regions.map(({ text, quad, score }, w) => {
      const confidence = score === undefined ? '' : `; x_wconf ${Math.round(100 * score)}`;
      const attributes = { class: 'ocrx_word', id: `word_${id}_${l + 1}_${w + 1}` };
      return textElement('span', { ...attributes, title: `${hocrBox(boundsOf(quad))}${confidence}` }, text);
    });
    return element('span', { class: 'ocr_line', id: `line_${id}_${l + 1}`, title }, words);
  });
  return element('div', { class: 'ocr_carea', id: `block_${id}`, title: hocrBox(box) }, rows);
}

/** hOCR has whole pixels; these contain the box. */
const hocrBox = ([x1, y1, x2, y2]: BoxCoordinates): string =>
  `bbox ${Math.floor(x1)} ${Math.floor(y1)} ${Math.ceil(x2)} ${Math.ceil(y2)}`;

/**
 * Returns a page as an ALTO document (version 4): a `TextBlock` per block, a `TextLine` with its outline per line, and a
 * `String` per region of the answer, which is a word or several. `WC` is the region's score.
 */
export function toAlto(page: TextPage): string {
  checkKind('page', page, PAGE);
  const { image, width, height, blocks } = page;
  const size = { HPOS: 0, VPOS: 0, WIDTH: width, HEIGHT: height };
  const content = blocks.map((block, b) => altoBlock(block, b + 1));
  const attributes = { ID: 'page_1', PHYSICAL_IMG_NR: 1, WIDTH: width, HEIGHT: height };
  const alto = element('alto', { xmlns: 'http://www.loc.gov/standards/alto/ns-v4#' }, [
    element('Description', {}, [
      textElement('MeasurementUnit', {}, 'pixel'),
      element('sourceImageInformation', {}, [textElement('fileName', {}, image)]),
    ]),
    element('Layout', {}, [element('Page', attributes, [element('PrintSpace', size, content)])]),
  ]);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${alto}\n`;
}

function altoBlock({ box, angle, lines }: TextBlock, b: number): string {
  // ALTO counts angles counter-clockwise.
  const attributes = { ID: `block_${b}`, ...altoBox(box), ROTATION: angle === 0 ? undefined : -angle };
  const rows = lines.map((line, l) => altoLine(line, `${b}_${l + 1}`));
  return element('TextBlock', attributes, rows);
}

function altoLine({ quad, regions }: TextLine, id: string): string {
  const outline = [0, 2, 4, 6].map(i => `${rounded(quad[i])},${rounded(quad[i + 1])}`).join(' ');
  const shape = element('Shape', {}, [element('Polygon', { POINTS: outline }, [])]);
  const strings = regions.flatMap(({ text, quad, score }, i) => {
    const WC = score === undefined ? undefined : rounded(score);
    const attributes = { ID: `string_${id}_${i + 1}`, ...altoBox(boundsOf(quad)), WC, CONTENT: text };
    return [...(i > 0 ? ['<SP/>'] : []), element('String', attributes, [])];
  });
  return element('TextLine', { ID: `line_${id}`, ...altoBox(boundsOf(quad)) }, [shape, ...strings]);
}

function altoBox([x1, y1, x2, y2]: BoxCoordinates) {
  return { HPOS: rounded(x1), VPOS: rounded(y1), WIDTH: rounded(x2 - x1), HEIGHT: rounded(y2 - y1) };
}

const rounded = (value: number): number => Math.round(value * 100) / 100;

type Attributes = Record<string, string | number | undefined>;

/** Attributes without a value are omitted. */
function openTag(name: string, attributes: Attributes): string {
  const given = Object.entries(attributes).filter(([, value]) => value !== undefined);
  return [name, ...given.map(([key, value]) => `${key}="${xmlText(String(value))}"`)].join(' ');
}

const textElement = (name: string, attributes: Attributes, text: string): string =>
  `<${openTag(name, attributes)}>${xmlText(text)}</${name}>`;

/** Returns an element with its children on indented lines. */
function element(name: string, attributes: Attributes, children: readonly string[]): string {
  const tag = openTag(name, attributes);
  if (children.length === 0) return name === 'title' || name === 'body' ? `<${tag}></${name}>` : `<${tag}/>`;
  return `<${tag}>\n${children.join('\n').replace(/^/gm, '  ')}\n</${name}>`;
}
