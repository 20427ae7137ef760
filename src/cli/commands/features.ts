import { Command, Option } from 'commander';
import type { FeatureFlags } from '../actions/features.ts';
import { count } from '../kinds.ts';
import { addImageOptions, addModelOptions, addQuestionOptions, parser } from '../options.ts';

/** `florence2 features`: activations of many images as one array. */
export function featuresCommand(): Command {
  const command = new Command('features')
    .summary('write the activations of many images as one array')
    .description(
      'Writes the activations at one hook point, image by image, for probing and retrieval, and prints the images in the ' +
        "order of the array's rows. Without a task only the vision tower and the projector run; points of the encoder and " +
        "the decoder need one, the decoder's are read on the model's own greedy answer.",
    )
    .argument('<image...>', 'image files, folders, patterns or URLs')
    .requiredOption('--at <name>', 'a hook point, or a glob that fits one (* within one dotted part, ** any parts)')
    .requiredOption('-o, --out <file>', 'a .npy file (the array alone), or .safetensors (with the names of the images)')
    .addOption(
      new Option('--pool <how>', 'mean: over all axes but the last, one vector for each image')
        .choices(['mean', 'none'])
        .default('mean'),
    );
  return addImageOptions(addModelOptions(addQuestionOptions(command)))
    .option('--max-new-tokens <n>', 'longest answer, for points of the decoder', parser(count))
    .option('--batch <n>', 'images to run together', parser(count), 1)
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
