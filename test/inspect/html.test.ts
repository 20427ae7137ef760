import { Script } from 'node:vm';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { renderReport } from '../../src/inspect/html.ts';
import { plausibleReport } from './plausible.ts';

const report = await plausibleReport('caption');
const evil = '</script><img src=x onerror="alert(1)"><!--<script>';

test('texts of a report cannot inject HTML', async () => {
  const spoilt = {
    ...report,
    title: evil,
    prompt: evil,
    model: { ...report.model, name: evil },
    tokens: report.tokens.map(token => ({ ...token, text: evil })),
  };
  const page = await renderReport(spoilt);
  assert.is(page.match(/<script/g)!.length, 2, 'the data and the script');
  assert.is(page.match(/<\/script/g)!.length, 2);
  assert.not.match(page, /<img|<!--/);
  const [, json] = /<script type="application\/json" id="report">(.*?)<\/script>/s.exec(page)!;
  assert.equal(JSON.parse(json), JSON.parse(JSON.stringify(spoilt)));
});

test('the page loads no external resources', async () => {
  const page = await renderReport(report);
  const [style, script] = [/<style>(.*?)<\/style>/s, /<script type="module">(.*?)<\/script>/s].map(
    p => p.exec(page)![1],
  );
  assert.not.match(style, /@import|url\(/);
  const addresses = [...`${style}${script}`.matchAll(/https?:\/\/[^'"`\s)]+/g)].map(([address]) => address);
  assert.equal([...new Set(addresses)], ['http://www.w3.org/2000/svg']); // an XML namespace
  assert.match(page, /<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;/);
  assert.equal(
    [...page.matchAll(/ (?:src|href)="([^"]{0,5})/g)].map(([, value]) => value),
    ['data:'],
  );
});

test('the modules of the page form one script without duplicate names', async () => {
  const page = await renderReport(report);
  const script = /<script type="module">(.*?)<\/script>/s.exec(page)![1];
  assert.not.match(script, /^(import|export) /m);
  assert.ok(new Script(`(async () => { 'use strict'; ${script} })`)); // throws if a name is declared twice
});

test.run();
