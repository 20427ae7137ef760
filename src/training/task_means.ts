/** Weighted means of losses, of all and by task. */
export class TaskMeans {
  private readonly sums = new Map<string, { loss: number; weight: number }>();

  /** @param loss the sum over an answer's tokens, and what these count for together */
  add(task: string, loss: number, weight: number): void {
    const sum = this.sums.get(task) ?? { loss: 0, weight: 0 };
    this.sums.set(task, { loss: sum.loss + loss, weight: sum.weight + weight });
  }

  /** Over all tokens. */
  get mean(): number {
    const all = [...this.sums.values()];
    return all.reduce((sum, { loss }) => sum + loss, 0) / all.reduce((sum, { weight }) => sum + weight, 0);
  }

  get byTask(): Record<string, number> {
    return Object.fromEntries([...this.sums].map(([task, { loss, weight }]) => [task, loss / weight]));
  }
}
