import { splitSpaces, type TokenizedCaption } from './bleu.ts';
import { mean } from './detection.ts';

/** The longest n-grams that count. */
const ORDERS = 4;
/** Standard deviation of the length penalty, in bigrams. */
const SIGMA = 6;

/**
 * Returns CIDEr-D of each image and their mean, from 0 to about 10: the similarity of n-grams (n = 1 to 4), weighted by
 * their rarity among the images of this set, to those of the references, with clipped counts and a penalty for other
 * lengths. Vedantam et al. 2015; equal to pycocoevalcap's `Cider`. Papers print 100 times this value. It is 0 for a
 * single image, because no n-gram is rare then.
 */
export function ciderD(captions: readonly TokenizedCaption[]): { mean: number; values: number[] } {
  const grams = new NgramTable();
  const images = captions.map(({ candidate, references }) => ({
    candidate: grams.read(candidate),
    references: references.map(reference => grams.read(reference)),
  }));
  const weights = rarities(images, grams.size);
  const candidate = new WeightedCounts(weights);
  const reference = new WeightedCounts(weights);
  const values = images.map(image => {
    candidate.set(image.candidate);
    let sum = 0;
    for (const text of image.references) {
      reference.set(text);
      sum += similarity(candidate, reference);
    }
    return (10 * sum) / ORDERS / image.references.length;
  });
  return { mean: mean(values), values };
}

/** The n-grams of a text as numbers: those of order n are `orders[n - 1]`, repeated as often as they occur. */
interface NgramIds {
  orders: Int32Array[];
}

/**
 * Numbers n-grams. An n-gram is the one without its last word, and that word. Longer ones are in a hash table of arrays
 * (open addressing): a Map holds at most 2^24 entries, and takes twice the time.
 */
class NgramTable {
  size = 0;
  private readonly words = new Map<string, number>();
  private slots = newSlots(2 ** 16);
  private used = 0;

  read(tokens: readonly string[]): NgramIds {
    const words = splitSpaces(tokens).map(word => this.word(word));
    const orders = [Int32Array.from(words)];
    for (let n = 2; n <= ORDERS; n++) {
      const shorter = orders[n - 2];
      const ids = new Int32Array(Math.max(0, words.length - n + 1));
      for (let i = 0; i < ids.length; i++) ids[i] = this.extend(shorter[i], words[i + n - 1]);
      orders.push(ids);
    }
    return { orders };
  }

  private word(word: string): number {
    const known = this.words.get(word);
    if (known !== undefined) return known;
    this.words.set(word, this.size);
    return this.size++;
  }

  private extend(gram: number, word: number): number {
    const slot = findSlot(this.slots, gram, word);
    if (this.slots[slot] >= 0) return this.slots[slot];
    const id = this.size++;
    this.slots[slot] = id;
    this.slots[slot + 1] = gram;
    this.slots[slot + 2] = word;
    if (++this.used * 6 > this.slots.length) this.grow(); // at most half full
    return id;
  }

  private grow(): void {
    const old = this.slots;
    this.slots = newSlots((2 * old.length) / 3);
    for (let i = 0; i < old.length; i += 3) {
      if (old[i] >= 0) this.slots.set(old.subarray(i, i + 3), findSlot(this.slots, old[i + 1], old[i + 2]));
    }
  }
}

/** Returns empty slots of three numbers: id (-1 if empty), n-gram, word. */
const newSlots = (count: number): Int32Array => new Int32Array(3 * count).fill(-1);

/** Returns the start of the slot of this n-gram, or of the empty slot for it. */
function findSlot(slots: Int32Array, gram: number, word: number): number {
  const mask = slots.length / 3 - 1;
  let hash = Math.imul(gram, 0x9e3779b1) ^ Math.imul(word, 0x85ebca6b);
  hash ^= hash >>> 15;
  for (let i = hash & mask; ; i = (i + 1) & mask) {
    const slot = 3 * i;
    if (slots[slot] < 0 || (slots[slot + 1] === gram && slots[slot + 2] === word)) return slot;
  }
}

/** Returns ln(images) − ln(images with this n-gram in a reference, at least 1) of each n-gram. */
function rarities(images: readonly { references: readonly NgramIds[] }[], grams: number): Float64Array {
  const documents = new Int32Array(grams);
  const last = new Int32Array(grams).fill(-1); // the last image that had it
  for (const [i, { references }] of images.entries()) {
    for (const { orders } of references) {
      for (const ids of orders) {
        for (const id of ids) {
          if (last[id] === i) continue;
          last[id] = i;
          documents[id]++;
        }
      }
    }
  }
  return Float64Array.from(documents, count => Math.log(images.length) - Math.log(Math.max(1, count)));
}

/** The n-grams of one text with their weighted counts. One object is used for many texts. */
class WeightedCounts {
  /** Different n-grams of each order. */
  readonly present: number[][] = Array.from({ length: ORDERS }, () => []);
  /** Euclidean norms of the weighted counts, by order. */
  readonly norms = new Float64Array(ORDERS);
  bigrams = 0;
  private readonly counts: Float64Array;

  constructor(private readonly rarity: Float64Array) {
    this.counts = new Float64Array(rarity.length);
  }

  set({ orders }: NgramIds): void {
    this.bigrams = orders[1].length;
    for (const [n, ids] of orders.entries()) {
      for (const id of this.present[n]) this.counts[id] = 0;
      const present: number[] = [];
      for (const id of ids) {
        if (this.counts[id]++ === 0) present.push(id);
      }
      let squares = 0;
      for (const id of present) squares += this.value(id) ** 2;
      this.norms[n] = Math.sqrt(squares);
      this.present[n] = present;
    }
  }

  value(id: number): number {
    return this.counts[id] * this.rarity[id];
  }
}

/** Returns the sum over the orders of the cosine similarity with clipped counts, times the length penalty. */
function similarity(candidate: WeightedCounts, reference: WeightedCounts): number {
  let sum = 0;
  for (let n = 0; n < ORDERS; n++) {
    let product = 0;
    for (const id of candidate.present[n]) {
      const known = reference.value(id);
      product += Math.min(candidate.value(id), known) * known;
    }
    const norms = candidate.norms[n] * reference.norms[n];
    sum += norms === 0 ? product : product / norms;
  }
  return sum * Math.exp(-((candidate.bigrams - reference.bigrams) ** 2) / (2 * SIGMA ** 2));
}
