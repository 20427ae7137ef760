import { outlinesIou } from '../../src/evaluation/judge.ts';
import { boxIou } from '../../src/geometry/iou.ts';
import type { TaskResult } from '../../src/results/types.ts';
