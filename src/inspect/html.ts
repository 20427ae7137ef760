import { readFile } from 'node:fs/promises';
import { style } from './page/style.ts';
import type { Report } from './report.ts';

/** The page's script, each module behind those that it imports. */
const MODULES = [
  'dom',
  'colours',
  'weights',
  'selection',
  'regions',
  'picture',
  'tokens',
  'heads',
  'lens',
  'norms',
  'main',
];

/** Nothing may be loaded, whatever stands in the page. */
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/** A report as one HTML file, which needs nothing beside itself. */
export async function renderReport(report: Report): Promise<string> {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<link rel="icon" href="data:,">
<title>${escapeHtml(report.title)}</title>
<style>${style}</style>
</head>
<body>
<div id="page"></div>
<noscript>This report is drawn by a script: allow it to run.</noscript>
<script type="application/json" id="report">${jsonForHtml(report)}</script>
<script type="module">
${await pageScript()}</script>
</body>
</html>
`;
}

/** JSON in which no tag can begin, and so none can end the element around it. */
export const jsonForHtml = (value: unknown): string => JSON.stringify(value).replaceAll('<', '\\u003c');

const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/**
 * The modules of the page as one: what they import from each other stands in the same scope. They share their names
 * therefore.
 */
async function pageScript(): Promise<string> {
  const modules = await Promise.all(MODULES.map(moduleSource));
  const script = modules.map(source => source.replace(/^import\s[^;]*;\n+/gm, '').replace(/^export /gm, '')).join('\n');
  return script.replaceAll('</script', '<\\/script');
}

/** JavaScript as the build made it; from the sources, types are taken off here (esbuild is there where tsx is). */
async function moduleSource(name: string): Promise<string> {
  if (import.meta.url.endsWith('.js')) {
    const built = await readFile(new URL(`./page/${name}.js`, import.meta.url), 'utf8');
    return built.replace(/^\/\/# sourceMappingURL=.*$/gm, '');
  }
  const { transform } = await import('esbuild');
  const source = await readFile(new URL(`./page/${name}.ts`, import.meta.url), 'utf8');
  return (await transform(source, { loader: 'ts', target: 'es2022' })).code;
}
