/** Seeds of the scenes that the demo checkpoint is trained on, by stage. */
export const TRAINING_SEEDS = [1, 2, 3, 9, 10, 11, 12, 13, 15] as const;

/** Seed of its validation scenes. */
export const VALIDATION_SEED = 4;

/** Seed of the scenes that measure it and that the demo shows. They were not used for any decision. */
export const HELD_OUT_SEED = 5;

/** Seed of the scenes that confidences are calibrated on. */
export const CALIBRATION_SEED = 14;

/** Seeds of the scenes with a new shape, for fine-tuning. */
export const NEW_SHAPE_SEEDS = { train: 6, valid: 7, test: 8 } as const;
