/** Scenes of different seeds have nothing in common but their kind. */

/** Of the scenes that the demo checkpoint is trained on. */
export const TRAINING_SEED = 1;

/** Of those on which its training is watched. */
export const VALIDATION_SEED = 2;

/** Of those on which it is measured, and which the demo shows. Nothing is chosen by them. */
export const HELD_OUT_SEED = 3;
