import { Command, Option } from 'commander';
import type { FeatureFlags } from '../actions/features.ts';
import { count } from '../kinds.ts';
import { addImageOptions, addModelOptions, addOutOption, addQuestionOptions, IMAGES_HELP, parser } from '../options.ts';

/** `florence2 features`: writes the activations of many images as one array. */
export function featuresCommand(): Command {
  const command = new Command('features')
    .summary('write the activations of many images as one array')
    .description(
      'Writes the activations of many images at one hook point as one array, for probing and retrieval, and prints the ' +
        'image paths in row order. Without a task, only the vision tower and the projector run. Points of the encoder ' +
        "and the decoder need a task or a prompt; the decoder receives the model's own greedy answer.",
    )
    .argument('<image...>', IMAGES_HELP)
    .requiredOption(
      '--at <name>',
      'hook point: a name, or a glob that matches only one (* within a dotted part, ** across parts)',
    )
    .addOption(
      new Option('--pool <how>', 'mean: average over all axes but the last, one vector per image')
        .choices(['mean', 'none'])
        .default('mean'),
    );
  addOutOption(command, '<file>', 'output file: .npy (only the array) or .safetensors (with the paths of the images)');
  return addImageOptions(addModelOptions(addQuestionOptions(command)))
    .option('--max-new-tokens <n>', 'maximum length of an answer in tokens, for points of the decoder', parser(count))
    .option('--batch <n>', 'images per batch', parser(count), 1)
    .addOption(
      new Option('--on-error <how>', 'stop at the first image that fails, or skip it: its row is NaN')
        .choices(['stop', 'skip'])
        .default('stop'),
    )
    .addHelpText('after', EXAMPLES)
    .action(async (images: string[], flags: FeatureFlags) => {
      const { runFeatures } = await import('../actions/features.ts');
      await runFeatures(images, flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 features photos/ --at multi_modal_projector.hook_image_features --out photos.npy > names.txt
  $ florence2 features "photos/*.jpg" --at "vision_tower.blocks.3.0.channel_block.hook_resid_post" --pool none --out maps.safetensors
  $ florence2 features photos/ --task caption --at "language_model.encoder.layers.5.hook_resid_post" --out encoded.npy --batch 4`;
