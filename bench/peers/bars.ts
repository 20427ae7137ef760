import { escapeXml } from '../../src/text/xml.ts';

interface Bars {
  what: string;
  unit: string;
  times: Record<string, number>;
}

const colors = ['#1f77b4', '#9aa5b1', '#cfd6dd', '#6b7580'];
const bar = 15;
const left = 200;
const width = 860;
const font = 'font-family="sans-serif" font-size="12" fill="#24292f"';

/** Draws times as an SVG bar chart: one group per job, one bar per engine, each group scaled to its first bar. */
export function barChart(title: string, groups: readonly Bars[]): string {
  const names = Object.keys(groups[0].times);
  const longest = Math.max(...groups.flatMap(({ times }) => relative(times)));
  const scale = (width - left - 110) / longest;
  let bottom = 56;
  const parts = groups.map(group => {
    const top = bottom;
    bottom += Object.keys(group.times).length * bar + 14;
    const bars = Object.values(group.times).map((time, engine) => {
      const y = top + engine * bar;
      const length = relative(group.times)[engine] * scale;
      return `<rect x="${left}" y="${y}" width="${length.toFixed(1)}" height="${bar - 2}" fill="${colors[engine]}"/>
<text x="${(left + length + 6).toFixed(1)}" y="${y + 11}" ${font}>${time} ${group.unit}</text>`;
    });
    return `<text x="${left - 10}" y="${top + 11}" text-anchor="end" ${font}>${escapeXml(group.what)}</text>\n${bars.join('\n')}`;
  });
  const legend = names.map((name, i) => {
    const x = left + i * 130;
    return `<rect x="${x}" y="32" width="12" height="12" fill="${colors[i]}"/><text x="${x + 18}" y="42" ${font}>${escapeXml(name)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${bottom}">
<title>${escapeXml(title)}</title>
<rect width="100%" height="100%" fill="white"/>
<text x="10" y="20" ${font} font-weight="bold">${escapeXml(title)}</text>
${legend.join('\n')}
${parts.join('\n')}
</svg>
`;
}

const relative = (times: Record<string, number>): number[] => {
  const [first, ...rest] = Object.values(times);
  return [1, ...rest.map(time => time / first)];
};
