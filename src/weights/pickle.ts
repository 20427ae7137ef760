import { Florence2Error } from '../errors.ts';

/** Values in a pickle of tensors. Lists and tuples are arrays, dicts and OrderedDicts are Maps. */
export type PickleValue = null | boolean | number | string | PickleValue[] | Map<PickleValue, PickleValue> | object;

/**
 * Resolves what a pickle refers to. A pickle is a program that can call any Python function. Here it can only use the
 * globals that the host returns, so none of its code runs.
 */
export interface PickleHost {
  /** Returns a value that represents `module.name`, or undefined to refuse it. */
  global(name: string): object | undefined;
  /** Resolves a persistent id: a reference to data outside of the pickle. */
  persistent(id: PickleValue): PickleValue;
  /** Calls a global. */
  call(global: object, args: PickleValue[]): PickleValue;
}

/**
 * Runs a pickle of protocol 2 to 5 that uses only the opcodes of a dictionary of tensors.
 *
 * @param path of the file, for messages
 * @throws Florence2Error for any other opcode and for globals that the host refuses, with their names
 */
export function unpickle(bytes: Uint8Array, host: PickleHost, path: string): PickleValue {
  return new Machine(bytes, host, path).run();
}

/**
 * Runs a pickle of protocol 0 to 5 that consists of lists, dicts, texts and numbers, such as those that Python 2 wrote.
 * Bytes of a `str` of Python 2 are read as Latin-1.
 *
 * @param path of the file, for messages
 * @throws Florence2Error for all other opcodes, and for any global
 */
export function unpickleData(bytes: Uint8Array, path: string): PickleValue {
  const refuse = (): never => {
    throw new Florence2Error(`${path}: refused: the pickle contains more than lists, dicts, texts and numbers.`);
  };
  const host: PickleHost = { global: refuse, persistent: refuse, call: refuse };
  return new Machine(bytes, host, path, { ...STEPS, ...OLD_STEPS }, MOST_DATA).run();
}

/** Most values that a pickle builds, far above those of real checkpoints, and of real annotations. */
const MOST_VALUES = 2_000_000;
const MOST_DATA = 50_000_000;

const mark = Symbol('mark');
type StackItem = PickleValue | typeof mark;

class Machine {
  private readonly view: DataView;
  private position = 0;
  private built = 0;
  private readonly stack: StackItem[] = [];
  private readonly memo = new Map<number, StackItem>();

  constructor(
    private readonly bytes: Uint8Array,
    private readonly host: PickleHost,
    private readonly path: string,
    private readonly steps = STEPS,
    private readonly most = MOST_VALUES,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): PickleValue {
    for (;;) {
      const opcode = this.bytes[this.take(1)];
      if (opcode === STOP) return this.pop();
      const step = this.steps[opcode];
      if (!step) this.fail(`refused: the pickle uses ${opcodeName(opcode)}, which a checkpoint does not need`);
      step(this);
    }
  }

  /** Skips n bytes and returns the position of the first. */
  take(n: number): number {
    const at = this.position;
    if (at + n > this.bytes.length) this.fail('the pickle is truncated');
    this.position += n;
    return at;
  }

  uint8 = (): number => this.view.getUint8(this.take(1));
  uint16 = (): number => this.view.getUint16(this.take(2), true);
  int32 = (): number => this.view.getInt32(this.take(4), true);
  uint32 = (): number => this.view.getUint32(this.take(4), true);
  uint64 = (): number => this.safe(this.view.getBigUint64(this.take(8), true));
  float64 = (): number => this.view.getFloat64(this.take(8), false);

  /** Reads a little-endian two's complement integer of n bytes. */
  long(n: number): number {
    const at = this.take(n);
    let value = 0n;
    for (let i = n - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[at + i]);
    return this.safe(BigInt.asIntN(8 * n, value));
  }

  text(n: number): string {
    const at = this.take(n);
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.bytes.subarray(at, at + n));
    } catch {
      return this.fail('a string in the pickle is not UTF-8');
    }
  }

  /** Reads the bytes of a `str` of Python 2. */
  bytesText(n: number): string {
    const at = this.take(n);
    return Array.from(this.bytes.subarray(at, at + n), byte => String.fromCharCode(byte)).join('');
  }

  /** Reads a number that is written in decimal digits; `01` and `00` are true and false. */
  digits(): number | boolean {
    const line = this.line();
    if (line === '00' || line === '01') return line === '01';
    const number = Number(line.replace(/L$/, ''));
    return Number.isFinite(number) && line !== '' ? number : this.damaged();
  }

  line(isLatin = false): string {
    const end = this.bytes.indexOf(10, this.position);
    if (end < 0) this.fail('the pickle is truncated');
    const length = end - this.position;
    const line = isLatin ? this.bytesText(length) : this.text(length);
    this.position++;
    return line;
  }

  push(value: StackItem): void {
    if (++this.built > this.most) this.fail(`the pickle builds more than the limit of ${this.most} values`);
    this.stack.push(value);
  }

  pop(): PickleValue {
    const value = this.stack.pop();
    if (value === undefined || value === mark) this.damaged();
    return value;
  }

  top(): PickleValue {
    const value = this.stack.at(-1);
    if (value === undefined || value === mark) this.damaged();
    return value;
  }

  /** Pops everything above the last mark, and the mark. */
  sinceMark(): PickleValue[] {
    const at = this.stack.lastIndexOf(mark);
    if (at < 0) this.damaged();
    const values = this.stack.splice(at).slice(1);
    return values as PickleValue[];
  }

  put(index: number): void {
    this.memo.set(index, this.top());
  }

  memoize(): void {
    this.put(this.memo.size);
  }

  get(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) this.damaged();
    this.push(value);
  }

  global(module: PickleValue, name: PickleValue): void {
    if (typeof module !== 'string' || typeof name !== 'string') this.damaged();
    const found = this.host.global(`${module}.${name}`);
    if (!found) this.fail(`refused: the pickle uses ${module}.${name}, which a checkpoint does not need`);
    this.push(found);
  }

  reduce(): void {
    const args = this.pop();
    const callable = this.pop();
    if (!Array.isArray(args) || typeof callable !== 'object' || callable === null) this.damaged();
    this.push(this.host.call(callable, args));
  }

  persistent(): void {
    this.push(this.host.persistent(this.pop()));
  }

  append(values: PickleValue[]): void {
    const list = this.top();
    if (!Array.isArray(list)) this.damaged();
    for (const value of values) list.push(value);
  }

  setItems(values: PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof Map) || values.length % 2 !== 0) this.damaged();
    for (let i = 0; i < values.length; i += 2) dict.set(values[i], values[i + 1]);
  }

  /** Ignores attributes of a dict, such as the `_metadata` of torch. Other objects are refused. */
  build(): void {
    this.pop();
    if (!(this.top() instanceof Map)) this.fail('refused: the pickle sets the state of something that is not a dict');
  }

  damaged(): never {
    return this.fail('the pickle is damaged');
  }

  fail(problem: string): never {
    throw new Florence2Error(`${this.path}: ${problem} (byte ${this.position} of data.pkl).`);
  }

  private safe(value: bigint): number {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : this.fail(`the number ${value} in the pickle is too large`);
  }
}

const STOP = 0x2e;
const code = (character: string): number => character.charCodeAt(0);

/** The supported opcodes, with their names in Python's pickletools. */
const STEPS: Record<number, (m: Machine) => void> = {
  128: m => checkProtocol(m, m.uint8()), // PROTO
  149: m => void m.take(8), // FRAME: a hint for read-ahead
  [code('(')]: m => m.push(mark), // MARK
  [code('N')]: m => m.push(null), // NONE
  136: m => m.push(true), // NEWTRUE
  137: m => m.push(false), // NEWFALSE
  [code('J')]: m => m.push(m.int32()), // BININT
  [code('K')]: m => m.push(m.uint8()), // BININT1
  [code('M')]: m => m.push(m.uint16()), // BININT2
  138: m => m.push(m.long(m.uint8())), // LONG1
  [code('G')]: m => m.push(m.float64()), // BINFLOAT
  [code('X')]: m => m.push(m.text(m.uint32())), // BINUNICODE
  140: m => m.push(m.text(m.uint8())), // SHORT_BINUNICODE
  141: m => m.push(m.text(m.uint64())), // BINUNICODE8
  [code(']')]: m => m.push([]), // EMPTY_LIST
  [code('a')]: m => m.append([m.pop()]), // APPEND
  [code('e')]: m => m.append(m.sinceMark()), // APPENDS
  [code(')')]: m => m.push([]), // EMPTY_TUPLE
  133: m => m.push([m.pop()]), // TUPLE1
  134: m => m.push([m.pop(), m.pop()].reverse()), // TUPLE2
  135: m => m.push([m.pop(), m.pop(), m.pop()].reverse()), // TUPLE3
  [code('t')]: m => m.push(m.sinceMark()), // TUPLE
  [code('}')]: m => m.push(new Map()), // EMPTY_DICT
  [code('s')]: m => m.setItems([m.pop(), m.pop()].reverse()), // SETITEM
  [code('u')]: m => m.setItems(m.sinceMark()), // SETITEMS
  [code('q')]: m => m.put(m.uint8()), // BINPUT
  [code('r')]: m => m.put(m.uint32()), // LONG_BINPUT
  148: m => m.memoize(), // MEMOIZE
  [code('h')]: m => m.get(m.uint8()), // BINGET
  [code('j')]: m => m.get(m.uint32()), // LONG_BINGET
  [code('c')]: m => m.global(m.line(), m.line()), // GLOBAL
  147: m => stackGlobal(m), // STACK_GLOBAL
  [code('R')]: m => m.reduce(), // REDUCE
  [code('b')]: m => m.build(), // BUILD
  [code('Q')]: m => m.persistent(), // BINPERSID
};

/** The opcodes of data in protocols 0 and 1. */
const OLD_STEPS: Record<number, (m: Machine) => void> = {
  [code('0')]: m => void m.pop(), // POP
  [code('I')]: m => m.push(m.digits()), // INT
  [code('L')]: m => m.push(m.digits()), // LONG
  [code('F')]: m => m.push(m.digits()), // FLOAT
  [code('S')]: m => m.push(unescapeText(m.line(true).slice(1, -1), /\\(x[\da-f]{2}|.)/g)), // STRING, as Python's repr writes it
  [code('V')]: m => m.push(unescapeText(m.line(true), /\\(u[\da-f]{4}|U000[\da-f]{5})/g)), // UNICODE
  [code('U')]: m => m.push(m.bytesText(m.uint8())), // SHORT_BINSTRING
  [code('T')]: m => m.push(m.bytesText(m.uint32())), // BINSTRING
  [code('l')]: m => m.push(m.sinceMark()), // LIST
  [code('d')]: m => {
    const items = m.sinceMark();
    m.push(new Map());
    m.setItems(items);
  }, // DICT
  [code('p')]: m => m.put(Number(m.digits())), // PUT
  [code('g')]: m => m.get(Number(m.digits())), // GET
};

const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t' };

const unescapeText = (text: string, escapes: RegExp): string =>
  text.replace(escapes, (_, part: string) =>
    part.length > 1 ? String.fromCodePoint(Number.parseInt(part.slice(1), 16)) : (ESCAPES[part] ?? part),
  );

function checkProtocol(m: Machine, protocol: number): void {
  if (protocol < 2 || protocol > 5) m.fail(`the pickle has protocol ${protocol}; 2 to 5 are supported`);
}

function stackGlobal(m: Machine): void {
  const name = m.pop();
  m.global(m.pop(), name);
}

/** Names of unsupported opcodes, for messages: those that checkpoints do not need, and those of older protocols. */
const OTHER_OPCODES: Record<string, string> = {
  ...{ 0: 'POP', 1: 'POP_MARK', 2: 'DUP', F: 'FLOAT', I: 'INT', L: 'LONG', P: 'PERSID', S: 'STRING', V: 'UNICODE' },
  ...{ T: 'BINSTRING', U: 'SHORT_BINSTRING', B: 'BINBYTES', C: 'SHORT_BINBYTES', d: 'DICT', l: 'LIST', g: 'GET' },
  ...{ p: 'PUT', i: 'INST', o: 'OBJ', '\x81': 'NEWOBJ', '\x82': 'EXT1', '\x83': 'EXT2', '\x84': 'EXT4' },
  ...{ '\x8b': 'LONG4', '\x8e': 'BINBYTES8', '\x8f': 'EMPTY_SET', '\x90': 'ADDITEMS', '\x91': 'FROZENSET' },
  ...{ '\x92': 'NEWOBJ_EX', '\x96': 'BYTEARRAY8', '\x97': 'NEXT_BUFFER', '\x98': 'READONLY_BUFFER' },
};

function opcodeName(opcode: number): string {
  const hex = `0x${opcode.toString(16).padStart(2, '0')}`;
  const name = OTHER_OPCODES[String.fromCharCode(opcode)];
  return name ? `the opcode ${name} (${hex})` : `the unknown opcode ${hex}`;
}
