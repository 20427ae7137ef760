import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatConfig } from '../../src/config/format.ts';
import { parseConfig } from '../../src/config/model.ts';
import { hasReference, referenceJson } from '../reference.ts';

const names = ['tiny', 'tiny-pad', 'tiny-large'].filter(name => hasReference(`model/${name}/hf/config.json`));
const sources = names.flatMap(name => [`${name}/microsoft`, `${name}/hf`]);
for (const source of sources) {
  test(`${source}: a formatted config is parsed as the same config, in both dialects`, () => {
    const config = parseConfig(referenceJson(`model/${source}/config.json`));
    assert.equal(parseConfig(formatConfig(config)), config);
    const other = { ...config, dialect: 'native', imageTokenId: 7 } as const;
    assert.equal(parseConfig(formatConfig(other)), other);
    const microsoft = { ...config, dialect: 'microsoft', imageTokenId: null } as const;
    assert.equal(parseConfig(formatConfig(microsoft)), microsoft);
  });
}

test('fields have the names of the published files', () => {
  for (const folder of ['hf', 'microsoft']) {
    const published = referenceJson(`model/tiny-pad/${folder}/config.json`);
    const written = formatConfig(parseConfig(published));
    for (const part of ['vision_config', 'text_config']) {
      for (const [name, value] of Object.entries(written[part] as object)) {
        if (name in published[part]) assert.equal(published[part][name], value, `${folder}: ${part}.${name}`);
      }
    }
    assert.is(written.model_type, published.model_type);
  }
});

test.run();
