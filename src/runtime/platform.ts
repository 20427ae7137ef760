/** True in Node (and what stands in for it), false in browsers and their workers. */
export const isNode = typeof process !== 'undefined' && typeof process.versions?.node === 'string';
