import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

/** Command of the first Chromium-based browser that is installed. */
export const chromium: string | undefined = ['chromium', 'chromium-browser', 'google-chrome', 'chrome'].find(
  name => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);

interface Message {
  id?: number;
  method?: string;
  params: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

/** A page in headless Chromium, controlled through the pipe of its debugging protocol. */
export class BrowserPage {
  /** Requested URLs including the page's own, without data URLs. */
  readonly requests: string[] = [];
  /** Exceptions, console errors, and requests that the content policy or the network blocked. */
  readonly problems: string[] = [];
  private readonly waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  private lastId = 0;
  private session?: string;
  private unread = '';
  private onLoad: () => void = () => {};

  private constructor(
    private readonly child: ChildProcess,
    private readonly profile: string,
  ) {
    const output = child.stdio[4] as Readable;
    output.setEncoding('utf8').on('data', text => this.read(text));
  }

  static async start(): Promise<BrowserPage> {
    const profile = mkdtempSync(join(tmpdir(), 'florence2-page-'));
    const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--remote-debugging-pipe'];
    const child = spawn(chromium!, [...flags, `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    const page = new BrowserPage(child, profile);
    const { targetId } = await page.send<{ targetId: string }>('Target.createTarget', { url: 'about:blank' });
    const attached = await page.send<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true });
    page.session = attached.sessionId;
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await page.send(`${domain}.enable`);
    return page;
  }

  /** Opens a URL offline and waits until the page is loaded and drawn. */
  async open(url: string, size: { width: number; height: number }, scheme: 'light' | 'dark' = 'light'): Promise<void> {
    const offline = { offline: true, latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
    await this.send('Network.emulateNetworkConditions', offline);
    await this.send('Emulation.setDeviceMetricsOverride', { ...size, deviceScaleFactor: 1, mobile: false });
    const features = [{ name: 'prefers-color-scheme', value: scheme }];
    await this.send('Emulation.setEmulatedMedia', { features });
    const loaded = new Promise<void>(resolve => {
      this.onLoad = resolve;
    });
    await this.send('Page.navigate', { url });
    await loaded;
  }

  /** Evaluates an expression in the page; promises are awaited. */
  async evaluate<T>(expression: string): Promise<T> {
    const given = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.send<{
      result: { value: T };
      exceptionDetails?: { exception?: { description?: string } };
    }>('Runtime.evaluate', given);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? expression);
    return result.value;
  }

  /** Waits until an expression is true, for at most a minute. */
  async until(expression: string): Promise<void> {
    const end = Date.now() + 60_000;
    while (!(await this.evaluate<boolean>(`Boolean(${expression})`))) {
      if (Date.now() > end) throw new Error(`Not true within a minute: ${expression}`);
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }

  /** Moves the pointer to the middle of an element and, with `click`, clicks there. */
  async point(selector: string, { click = false } = {}): Promise<void> {
    const at = await this.evaluate<{ x: number; y: number }>(`(() => {
      const element = document.querySelector(${JSON.stringify(selector)});
      element.scrollIntoView({ block: 'nearest' });
      const { x, y, width, height } = element.getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    })()`);
    await this.pointAt(at.x, at.y, { click });
  }

  async pointAt(x: number, y: number, { click = false } = {}): Promise<void> {
    const button = { x, y, button: 'left', clickCount: 1 };
    await this.send('Input.dispatchMouseEvent', { type: 'mouseMoved', x, y });
    if (!click) return;
    await this.send('Input.dispatchMouseEvent', { type: 'mousePressed', ...button });
    await this.send('Input.dispatchMouseEvent', { type: 'mouseReleased', ...button });
  }

  async press(key: string): Promise<void> {
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', key, code: key });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key, code: key });
  }

  /** Returns a PNG of the window or of the whole page. */
  async screenshot(wholePage = false): Promise<Buffer> {
    const options = { format: 'png', captureBeyondViewport: wholePage };
    const { data } = await this.send<{ data: string }>('Page.captureScreenshot', options);
    return Buffer.from(data, 'base64');
  }

  async close(): Promise<void> {
    const closed = new Promise(resolve => this.child.on('close', resolve));
    this.send('Browser.close').catch(() => {});
    await closed;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }); // its child processes end after it
  }

  send<T>(method: string, params: object = {}): Promise<T> {
    const id = ++this.lastId;
    const message = { id, method, params, ...(this.session !== undefined && { sessionId: this.session }) };
    (this.child.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`);
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  private read(text: string): void {
    const messages = (this.unread + text).split('\0');
    this.unread = messages.pop()!;
    for (const message of messages) this.receive(JSON.parse(message));
  }

  private receive({ id, method, params, result, error }: Message): void {
    if (id !== undefined) {
      const asked = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) asked?.reject(new Error(error.message));
      else asked?.resolve(result as never);
      return;
    }
    if (method === 'Page.loadEventFired') this.onLoad();
    if (method === 'Network.requestWillBeSent') {
      const { url } = params.request as { url: string };
      if (!url.startsWith('data:')) this.requests.push(url);
    }
    if (method === 'Runtime.exceptionThrown') this.problems.push(JSON.stringify(params.exceptionDetails));
    if (method === 'Runtime.consoleAPICalled' && params.type === 'error')
      this.problems.push(JSON.stringify(params.args));
    if (method === 'Log.entryAdded') {
      const entry = params.entry as { level: string; text: string };
      if (entry.level === 'error') this.problems.push(entry.text);
    }
  }
}
