/**
 * Words that name nothing in the image: phrase grounding drops them, as Microsoft's processor does. Matched whole and
 * in this case only.
 */
// biome-ignore format: a list of words
export const BANNED_PHRASES: ReadonlySet<string> = new Set([
  'I', 'a', 'a group', 'a set', 'all', 'an', 'another', 'any', 'anybody', 'anyone', 'anything', 'each', 'each other',
  'everybody', 'everyone', 'everything', 'few', 'he', 'her', 'hers', 'herself', 'him', 'himself', 'his', 'image',
  'images', 'it', 'its', 'itself', 'lots', 'many', 'me', 'mine', 'myself', 'nobody', 'none', 'one', 'one another',
  'oneself', 'other objects', 'our', 'ours', 'ourselves', 'several', 'she', 'some', 'somebody', 'someone',
  'something', 'that', 'the', 'the image', 'their', 'theirs', 'them', 'themselves', 'these', 'they', 'this', 'those',
  'us', 'we', 'what', 'which', 'who', 'whom', 'whose', 'you', 'your', 'yours', 'yourself', 'yourselves',
]);
