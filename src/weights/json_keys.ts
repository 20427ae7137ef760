/**
 * The first key that an object in a JSON text has twice, as the path of keys to it; undefined when there is none.
 * JSON.parse keeps the last of equal keys and says nothing. The text must be valid JSON.
 */
export function duplicateKey(text: string): string[] | undefined {
  const token = /"(?:[^"\\]+|\\.)*"|[{}[\]:]/g;
  const open: { keys: Set<string>; current: string }[] = []; // one entry per open object or list
  let last = '';
  for (const [found] of text.matchAll(token)) {
    const top = open.at(-1);
    if (found === '{' || found === '[') open.push({ keys: new Set(), current: '' });
    else if (found === '}' || found === ']') open.pop();
    else if (found === ':' && top) {
      top.current = JSON.parse(last);
      if (top.keys.has(top.current)) return open.map(level => level.current).filter(key => key !== '');
      top.keys.add(top.current);
    } else last = found;
  }
  return undefined;
}
