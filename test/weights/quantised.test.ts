import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { packedHint, refuseQuantised } from '../../src/weights/quantised.ts';
import type { Dtype, TensorFile } from '../../src/weights/tensor_file.ts';

const layer = 'language_model.model.encoder.layers.0.fc1';

function refusal(...tensors: [name: string, dtype: Dtype][]): string | undefined {
  const infos = new Map(tensors.map(([name, dtype]) => [name, { name, dtype, shape: [1] }]));
  try {
    refuseQuantised({ path: 'm.safetensors', tensors: infos } as unknown as TensorFile);
    return undefined;
  } catch (error) {
    assert.instance(error, Florence2Error);
    return (error as Error).message;
  }
}

for (const [names, method] of [
  [['weight.absmax', 'weight.quant_map', 'weight.quant_state.bitsandbytes__nf4'], 'bitsandbytes'],
  [['SCB'], 'bitsandbytes'],
  [['qweight', 'qzeros', 'g_idx'], 'GPTQ or AWQ'],
  [['weight_scale_inv'], 'fp8 or compressed tensors'],
  [['scales'], 'MLX'],
] as const) {
  test(`${names.join(', ')}: quantised by ${method}`, () => {
    for (const name of names) {
      const message = refusal([`${layer}.weight`, 'F32'], [`${layer}.${name}`, 'F32']);
      assert.ok(message?.includes(`has ${layer}.${name}: the weights are quantised (${method}),`), message);
    }
  });
}

test('a weight of whole numbers without scales is refused, a buffer of whole numbers is not', () => {
  assert.match(refusal([`${layer}.weight`, 'I8'])!, /fc1\.weight is I8, without the scales that whole numbers need/);
  assert.is(refusal([`${layer}.weight`, 'BF16'], ['vision_tower.position_ids', 'I64']), undefined);
});

test('dtypes of packed weights are called quantised', () => {
  for (const dtype of ['F8_E4M3', 'F8_E5M2', 'U32', 'F4']) assert.match(packedHint(dtype), /the weights are quantised/);
  assert.is(packedHint('F33'), '');
});

test.run();
