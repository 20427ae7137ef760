// Functions that create elements. Text becomes text nodes and attributes only; no part of a report is parsed as HTML.

type Attributes = Record<string, string | number | boolean | EventListener | undefined>;
type Child = Node | string;

export function html<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill<E extends Element>(element: E, attributes: Attributes, children: Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.replace(/^on/, ''), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** Creates a section of the page with a heading and a hint. */
export function card(name: string, heading: string, hint: string, ...children: Child[]): HTMLElement {
  const id = `${name}-heading`;
  return html(
    'section',
    { class: `card ${name}`, 'aria-labelledby': id },
    html('header', {}, html('h2', { id }, heading), html('p', { class: 'hint' }, hint)),
    ...children,
  );
}

/** Formats a probability or share as a percentage, short enough for a table cell. */
export function percent(share: number): string {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return '<0.1%';
  if (value < 10) return `${Number(value.toFixed(1))}%`;
  return `${value > 99 && value < 100 ? value.toFixed(1) : Math.round(value)}%`;
}

/** Returns a token's text with signs in place of spaces at its ends and of invisible characters. */
export function visibleText(text: string): Child[] {
  if (text === '') return [html('span', { class: 'space' }, '∅')];
  return text
    .split(/(^ | $|\p{C})/u)
    .filter(part => part !== '')
    .map(part => {
      if (part === ' ') return html('span', { class: 'space' }, '·');
      if (part === '\n') return html('span', { class: 'space' }, '↵');
      if (!/\p{C}/u.test(part)) return part;
      return html('span', { class: 'space' }, `U+${part.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`);
    });
}

/** Shortens a location token to its bin number after `loc` or the name of its axis. */
export function shortText(text: string, axis = 'loc'): Child[] {
  const bin = /^<loc_(\d+)>$/.exec(text)?.[1];
  return bin === undefined ? visibleText(text) : [html('span', { class: 'axis' }, axis), bin];
}

/**
 * Lets arrow keys move between the elements of a group, of which Tab reaches one at a time. With `columns`, up and down
 * move by rows. Returns a function that sets the element that Tab reaches.
 */
export function roveFocus(group: HTMLElement, items: readonly HTMLElement[], columns = 0): (index: number) => void {
  const makeStop = (index: number) => {
    for (const [i, item] of items.entries()) item.tabIndex = i === index ? 0 : -1;
  };
  group.addEventListener('keydown', event => {
    const at = items.indexOf(document.activeElement as HTMLElement);
    const moves: Record<string, number> = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at - (columns || 1),
      ArrowDown: at + (columns || 1),
      Home: 0,
      End: items.length - 1,
    };
    const next = moves[event.key];
    if (at < 0 || next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const item = items[next];
    if (!item) return;
    makeStop(next);
    item.focus();
    item.click();
  });
  makeStop(0);
  return makeStop;
}

/**
 * Scrolls a box, but not the page, until an item in it is visible.
 *
 * @param covered width in pixels of a fixed column that covers the left of the box
 */
export function scrollWithin(box: HTMLElement, item: HTMLElement, covered = 0): void {
  const [inner, outer] = [item.getBoundingClientRect(), box.getBoundingClientRect()];
  const margin = 6;
  if (inner.left < outer.left + covered) box.scrollLeft += inner.left - outer.left - covered - margin;
  else if (inner.right > outer.right) box.scrollLeft += inner.right - outer.right + margin;
  if (inner.top < outer.top) box.scrollTop += inner.top - outer.top - margin;
  else if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom + margin;
}
