/** Scenes of different seeds have nothing in common but their kind. */

/** Of the scenes that the demo checkpoint is trained on, stage by stage. */
export const TRAINING_SEEDS = [1, 2, 3, 9, 10, 11, 12] as const;

/** Of those on which its training is watched. */
export const VALIDATION_SEED = 4;

/** Of those on which it is measured, and which the demo shows. Nothing is chosen by them. */
export const HELD_OUT_SEED = 5;

/** Of the scenes with a shape that the checkpoint does not know, which it is taught by fine-tuning. */
export const NEW_SHAPE_SEEDS = { train: 6, valid: 7, test: 8 } as const;
