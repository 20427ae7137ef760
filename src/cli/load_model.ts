import type { Florence2 } from '../florence2.ts';

/** Which backend runs, and why not a faster one. */
export function backendLine({ backend: { name, description, passedOver } }: Florence2): string {
  const reasons = passedOver.map(other => `; not ${other.name}: ${other.reason}`).join('');
  return `Backend ${name} (${description})${reasons}`;
}
