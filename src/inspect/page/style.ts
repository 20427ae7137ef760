/** The page's style sheet, in a module so that the build includes it. */
export const STYLE = /* css */ `
:root {
  color-scheme: light dark;
  --ground: #f4f5f7;
  --panel: #ffffff;
  --raised: #eef0f4;
  --ink: #15181e;
  --soft: #555d6b;
  --rule: #dde1e7;
  --accent: #2f5bd7;
  --accent-ground: #2f5bd722;
  --image: #0b6fb3;
  --mean: #12876a;
  --prompt: #b86a00;
  --series-0: #15181e;
  --series-1: #0b6fb3;
  --series-2: #c2410c;
  --series-3: #12876a;
  --mono: ui-monospace, 'SF Mono', 'Cascadia Mono', 'JetBrains Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e1014;
    --panel: #16191f;
    --raised: #20242c;
    --ink: #e9ecf1;
    --soft: #9aa3b1;
    --rule: #2b303a;
    --accent: #86a6ff;
    --accent-ground: #86a6ff2e;
    --image: #56b4e9;
    --mean: #3cc79c;
    --prompt: #f0a33a;
    --series-0: #e9ecf1;
    --series-1: #56b4e9;
    --series-2: #f98b5c;
    --series-3: #3cc79c;
  }
}
* { box-sizing: border-box; margin: 0; }
body {
  background: var(--ground);
  color: var(--ink);
  font: 14px/1.45 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', sans-serif;
  -webkit-text-size-adjust: 100%;
}
button, input { font: inherit; color: inherit; accent-color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
#page { max-width: 1880px; margin: 0 auto; padding: 20px clamp(12px, 1.8vw, 32px) 48px; }
.mono { font-family: var(--mono); font-size: 0.94em; white-space: pre; }
.hint { color: var(--soft); font-size: 12.5px; }
.space { color: var(--soft); opacity: 0.75; }
.swatch { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 5px; }
.on-image { background: var(--image); }
.on-mean { background: var(--mean); }
.on-prompt { background: var(--prompt); }

.page-head { display: flex; flex-wrap: wrap; gap: 6px 36px; align-items: baseline; margin-bottom: 16px; }
.page-head h1 { font-size: 19px; font-weight: 650; letter-spacing: -0.01em; }
.page-head dl { display: flex; flex-wrap: wrap; gap: 4px 24px; }
.page-head dl div { display: flex; gap: 7px; align-items: baseline; min-width: 0; }
.page-head dt { color: var(--soft); font-size: 12.5px; }
.page-head dd { overflow-wrap: anywhere; max-width: 76ch; }
.warning { color: var(--prompt); font-weight: 600; }

.columns { display: grid; grid-template-columns: minmax(0, 45fr) minmax(0, 55fr); gap: 16px; align-items: start; }
.words { display: grid; gap: 16px; min-width: 0; }
.card {
  background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; padding: 14px 16px 16px; min-width: 0;
}
.card > header { display: flex; flex-wrap: wrap; gap: 2px 14px; align-items: baseline; margin-bottom: 10px; }
.card h2 { font-size: 14px; font-weight: 650; }
main > .card { margin-top: 16px; }

.picture { position: sticky; top: 12px; }
.stage {
  position: relative; aspect-ratio: var(--aspect); margin: 0 auto; overflow: hidden; border-radius: 6px;
  width: min(100%, max(150px, calc((100vh - 340px) * var(--ratio)))); background: #000;
}
.stage > img, .stage > canvas, .stage > svg { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
.heat { transition: opacity 0.15s; pointer-events: none; }
.overlay { overflow: visible; cursor: crosshair; }
.overlay path { vector-effect: non-scaling-stroke; fill: none; stroke-linejoin: round; }
.overlay .cell { fill: none; stroke: #fff; stroke-width: 1.5; vector-effect: non-scaling-stroke; pointer-events: none; }
.overlay .guide { stroke: #fff; stroke-width: 1.5; stroke-dasharray: 5 4; pointer-events: none; }
.region { cursor: pointer; outline: none; transition: opacity 0.12s; }
.region .rim { stroke: #000; stroke-opacity: 0.5; stroke-width: 4.5; pointer-events: none; }
.region .line { stroke: var(--c); stroke-width: 2.2; pointer-events: stroke; }
.region.polygon .line, .region.quad .line { fill: var(--c); fill-opacity: 0.16; fill-rule: evenodd; pointer-events: all; }
.region.active .line { stroke-width: 3.6; fill-opacity: 0.3; }
.region.active .rim { stroke-width: 6.5; stroke-opacity: 0.7; }
.region.faded { opacity: 0.4; }
.region:focus-visible .line { stroke: #fff; }
.pill {
  position: absolute; left: 0; top: 0; padding: 1px 7px; border-radius: 4px; background: var(--c); pointer-events: none;
  font-size: 12px; font-weight: 600; line-height: 1.5; white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
  transition: opacity 0.12s;
}
.pill.faded { opacity: 0.3; }
.pill.crowded:not(.active), .pill.quad:not(.active) { opacity: 0; } /* what is written there can be read there */
.pill.empty { display: none; }
.pill.active { z-index: 1; opacity: 1; }
.no-regions .region, .no-regions .pill { display: none; }
.controls { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-top: 10px; color: var(--soft); font-size: 12.5px; }
.controls label { display: flex; gap: 7px; align-items: center; }
.controls input[type='range'] { width: 110px; }
.caption { margin-top: 10px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.readout { color: var(--soft); font-size: 12.5px; min-height: 1.45em; }
.elsewhere { margin-top: 10px; }
.shares { display: flex; height: 10px; border-radius: 3px; overflow: hidden; gap: 1px; }
.shares i { min-width: 0; flex-basis: 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; margin-top: 6px; font-size: 12.5px; color: var(--soft); }
.legend b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.prompt-tokens { display: flex; flex-wrap: wrap; gap: 3px; align-items: center; margin-top: 8px; max-height: 108px; overflow: auto; }
.prompt-tokens .hint { margin-right: 5px; }
.chip {
  padding: 0 5px; border-radius: 4px; font-size: 12px; border: 1px solid var(--rule);
  background: color-mix(in srgb, var(--prompt) calc(62% * var(--level, 0)), transparent);
}

.token-list { display: flex; flex-wrap: wrap; gap: 4px; max-height: 232px; overflow: auto; padding: 3px; margin: -3px; }
.token {
  position: relative; border: 1px solid var(--rule); border-radius: 5px; background: var(--raised); cursor: pointer;
  padding: 2px 7px 6px; font-family: var(--mono); font-size: 13px; line-height: 1.35; white-space: pre;
}
.token::after {
  content: ''; position: absolute; left: 4px; right: 4px; bottom: 2.5px; height: 2.5px; border-radius: 2px;
  background: linear-gradient(to right, var(--accent) calc(100% * var(--p)), var(--rule) 0);
}
.token.special { color: var(--soft); background: none; }
.token.location { font-size: 12px; padding-left: 6px; padding-right: 6px; }
.axis { color: var(--soft); margin-right: 3px; font-size: 0.92em; }
.token.linked { box-shadow: inset 0 3px 0 -0.5px var(--c); padding-top: 4px; }
.token.forced::after { background: var(--rule); }
.token.related { border-color: var(--c, var(--accent)); background: color-mix(in srgb, var(--c, var(--accent)) 20%, var(--panel)); }
.token.selected { border-color: var(--accent); outline: 2px solid var(--accent); outline-offset: -1px; background: var(--accent-ground); }
.token-list.by-cell .token { background: color-mix(in srgb, var(--prompt) calc(75% * var(--looked, 0)), var(--panel)); }
.chosen { margin-top: 12px; padding-top: 12px; border-top: 1px solid var(--rule); }
.chosen .name { display: flex; gap: 2px 14px; white-space: nowrap; overflow: hidden; align-items: baseline; margin-bottom: 6px; }
.big { font-size: 17px; font-weight: 650; font-variant-numeric: tabular-nums; }
.alternatives {
  list-style: none; padding: 0; display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1px 26px;
  grid-auto-flow: column; grid-template-rows: repeat(4, auto);
}
.alternatives li { display: grid; grid-template-columns: minmax(64px, 9em) 1fr 46px; gap: 9px; align-items: center; }
.alternatives .word { overflow: hidden; text-overflow: ellipsis; }
.alternatives .bar { height: 8px; border-radius: 3px; background: var(--raised); overflow: hidden; }
.alternatives .bar i { display: block; height: 100%; background: var(--soft); }
.alternatives .said .bar i { background: var(--accent); }
.alternatives .said .word { font-weight: 700; }
.number { font-size: 12.5px; text-align: right; font-variant-numeric: tabular-nums; color: var(--soft); }

.head-grid {
  display: grid; grid-template-columns: auto repeat(calc(var(--heads) + 1), minmax(36px, 96px)); gap: 4px; justify-content: start; overflow-x: auto;
  padding: 3px; margin: -3px;
}
.corner { font-size: 11.5px; color: var(--soft); text-align: center; align-self: center; font-variant-numeric: tabular-nums; }
.thumbnail {
  display: block; border: 0; padding: 0; background: none; cursor: pointer; border-radius: 4px; min-width: 0;
  line-height: 0;
}
.thumbnail canvas { width: 100%; aspect-ratio: var(--shape); image-rendering: pixelated; border-radius: 3px 3px 0 0; }
.thumbnail .shares { height: 4px; border-radius: 0 0 3px 3px; gap: 0; }
.thumbnail:hover { outline: 2px solid var(--soft); outline-offset: 1px; }
.thumbnail.selected { outline: 2.5px solid var(--accent); outline-offset: 1px; }
.head-grid .legend { grid-column: 3 / -1; align-self: center; padding-left: 8px; margin: 0; }
.option { display: flex; gap: 6px; align-items: center; }

.scroller { overflow-x: auto; border: 1px solid var(--rule); border-radius: 6px; }
.lens table { border-collapse: separate; border-spacing: 0; font-size: 12.5px; }
.lens th, .lens td { padding: 3px 8px; text-align: left; white-space: nowrap; border-right: 1px solid var(--rule); }
.lens tr:not(:last-child) td, .lens tr:not(:last-child) th, .lens thead th { border-bottom: 1px solid var(--rule); }
.lens th:first-child {
  position: sticky; left: 0; z-index: 1; background: var(--panel); font-weight: 500; color: var(--soft); border-right-width: 2px;
}
.lens thead th { background: var(--raised); font-weight: 600; cursor: pointer; }
.lens thead th:first-child { background: var(--raised); cursor: default; }
.lens td {
  cursor: pointer; background-color: color-mix(in srgb, var(--accent) calc(var(--p) * 48%), var(--panel)); max-width: 15em;
}
.lens td span, .lens th span.mono { display: inline-block; max-width: 11em; overflow: hidden; text-overflow: ellipsis; vertical-align: bottom; }
.lens td small { color: var(--soft); margin-left: 6px; font-size: 11px; font-variant-numeric: tabular-nums; }
.lens td.said { box-shadow: inset 0 0 0 1.5px var(--accent); }
.lens td.selected {
  background-image: linear-gradient(var(--accent), var(--accent)), linear-gradient(var(--accent), var(--accent));
  background-size: 2px 100%; background-position: left, right; background-repeat: no-repeat;
}
.lens thead th.selected { background: var(--accent); color: var(--panel); }
.lens thead th.selected :is(.space, .axis) { color: inherit; }
.lens-detail { display: flex; flex-wrap: wrap; gap: 2px 18px; margin-top: 9px; min-height: 1.5em; align-items: baseline; }

.charts { display: grid; grid-template-columns: 2fr 1fr 1fr; gap: 10px 28px; margin-top: 12px; }
.charts figure { min-width: 0; }
.charts figcaption { font-weight: 600; font-size: 13px; }
.charts svg { display: block; width: 100%; }
.charts .grid { stroke: var(--rule); }
.charts .group { stroke: var(--rule); stroke-dasharray: 3 3; }
.charts .tick { fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums; }
.norms .line { fill: none; stroke: var(--s); stroke-width: 1.8; stroke-linejoin: round; opacity: 0.8; }
.norms .marker { fill: var(--s); stroke: var(--panel); stroke-width: 1; }
.norms .legend svg { width: 14px; height: 14px; vertical-align: -2px; margin-right: 5px; }
.s0 { --s: var(--series-0); } .s1 { --s: var(--series-1); } .s2 { --s: var(--series-2); } .s3 { --s: var(--series-3); }

@media (max-width: 980px) {
  .columns { grid-template-columns: minmax(0, 1fr); }
  .picture { position: static; }
  .stage { width: 100%; }
  .charts { grid-template-columns: 1fr 1fr; }
  .charts figure:first-child { grid-column: span 2; }
}
@media (max-width: 560px) {
  .alternatives { grid-template-columns: minmax(0, 1fr); grid-template-rows: none; grid-auto-flow: row; }
  .charts { grid-template-columns: minmax(0, 1fr); }
  .charts figure:first-child { grid-column: auto; }
  .chosen .name { flex-wrap: wrap; white-space: normal; }
  .head-grid .legend { max-width: calc(100vw - 120px); }
}
@media (min-width: 1700px) {
  body { font-size: 15px; }
  .hint, .legend, .controls, .readout, .lens table { font-size: 13.5px; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
`;
