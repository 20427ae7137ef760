/**
 * Writes docs/scenes/pages.pdf, two pages with the pictures scene-3.png and scene-1.png:
 *
 *     npx tsx tools/scenes_pdf.ts [FILE]
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { decodeImage } from '../src/index.ts';

const scenes = join(import.meta.dirname, '../docs/scenes');
const chunks: Buffer[] = [Buffer.from('%PDF-1.4\n')];
const offsets: number[] = [];
const size = (): number => chunks.reduce((sum, { length }) => sum + length, 0);

/** Appends an object, and its stream if it has one. */
function add(dictionary: string, stream?: Buffer): void {
  offsets.push(size());
  const length = stream ? ` /Length ${stream.length}` : '';
  chunks.push(Buffer.from(`${offsets.length} 0 obj\n<< ${dictionary}${length} >>\n`));
  if (stream) chunks.push(Buffer.from('stream\n'), stream, Buffer.from('\nendstream\n'));
  chunks.push(Buffer.from('endobj\n'));
}

const names = ['scene-3.png', 'scene-1.png'];
add('/Type /Catalog /Pages 2 0 R');
add(`/Type /Pages /Count ${names.length} /Kids [${names.map((_, i) => `${3 + 3 * i} 0 R`).join(' ')}]`);
for (const [i, name] of names.entries()) {
  const { data, width, height } = await decodeImage(join(scenes, name));
  const [content, picture] = [4 + 3 * i, 5 + 3 * i];
  const resources = `/Resources << /XObject << /I ${picture} 0 R >> >>`;
  add(`/Type /Page /Parent 2 0 R /MediaBox [0 0 ${width} ${height}] ${resources} /Contents ${content} 0 R`);
  add('', Buffer.from(`${width} 0 0 ${height} 0 0 cm /I Do`));
  const colors = '/ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /FlateDecode';
  add(`/Type /XObject /Subtype /Image /Width ${width} /Height ${height} ${colors}`, deflateSync(data, { level: 9 }));
}
const start = size();
const rows = offsets.map(offset => `${String(offset).padStart(10, '0')} 00000 n \n`).join('');
chunks.push(Buffer.from(`xref\n0 ${offsets.length + 1}\n0000000000 65535 f \n${rows}`));
chunks.push(Buffer.from(`trailer\n<< /Size ${offsets.length + 1} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`));
await writeFile(process.argv[2] ?? join(scenes, 'pages.pdf'), Buffer.concat(chunks));
