import { readFile } from 'node:fs/promises';
import { STYLE } from './page/style.ts';
import type { Report } from './report.ts';

/** The modules of the page's script; each comes after those that it imports. */
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

/** The page's Content-Security-Policy: nothing may be loaded from elsewhere. */
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/**
 * Renders a report as a single HTML file without external resources. Node only: it reads the page's script from disk.
 */
export async function renderReport(report: Report): Promise<string> {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<link rel="icon" href="data:,">
<title>${escapeHtml(report.title)}</title>
<style>${STYLE}</style>
</head>
<body>
<div id="page"></div>
<noscript>This report needs JavaScript.</noscript>
<script type="application/json" id="report">${jsonForHtml(report)}</script>
<script type="module">
${await pageScript()}</script>
</body>
</html>
`;
}

/** Returns JSON without `<`, so that it cannot close the script element around it. */
export const jsonForHtml = (value: unknown): string => JSON.stringify(value).replaceAll('<', '\\u003c');

const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/**
 * Joins the modules of the page into one script: imports between them are removed, so all names share one scope and
 * must be unique.
 */
async function pageScript(): Promise<string> {
  const modules = await Promise.all(MODULES.map(moduleSource));
  const script = modules.map(source => source.replace(/^import\s[^;]*;\n+/gm, '').replace(/^export /gm, '')).join('\n');
  return script.replaceAll('</script', '<\\/script');
}

/**
 * Reads a module as built JavaScript or, when run from the sources, transpiles it with esbuild (a dependency of tsx).
 */
async function moduleSource(name: string): Promise<string> {
  if (import.meta.url.endsWith('.js')) {
    const built = await readFile(new URL(`./page/${name}.js`, import.meta.url), 'utf8');
    return built.replace(/^\/\/# sourceMappingURL=.*$/gm, '');
  }
  const { transform } = await import('esbuild');
  const source = await readFile(new URL(`./page/${name}.ts`, import.meta.url), 'utf8');
  return (await transform(source, { loader: 'ts', target: 'es2022' })).code;
}
