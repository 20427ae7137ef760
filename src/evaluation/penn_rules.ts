/** A token at one position: its characters, and those after it that decided the rule. */
export interface Rule {
  /** Matches the token as its first group, and what must follow it. */
  pattern: RegExp;
  /** What the token becomes: text, or null for nothing. Default: the matched text. */
  text?: (token: string) => string | null;
  /** Characters of the token that are read again as the next one. Default 0. */
  again?: (token: string) => number;
}

// Classes of characters. Patterns are case-sensitive; `any` spells words in either case.
const any = (words: string): string => words.replace(/[a-z]/gi, c => `[${c.toLowerCase()}${c.toUpperCase()}]`);
const digit = '\\p{Nd}';
const ascii = 'A-Za-z0-9';
const alnum = `[\\p{L}${digit}]`;
const accented = `&[aeiouAEIOU](?:${any('acute|grave|uml')});`;
const mark = '(?![\\u0ECE-\\uFFFF])\\p{M}'; // signs of European, Indian and Near Eastern scripts
const letter = `(?:[\\p{L}\\xAD]|${mark}|${accented})`;
const letterOrDigit = `(?:[\\p{L}${digit}\\xAD]|${mark}|${accented})`;
const space = '[ \\t\\xA0\\u2000-\\u200A\\u3000]';
const newline = '(?:\\r\\n|[\\r\\n\\v\\f\\x85\\u2028\\u2029])';
const blank = `(?:${space}|${newline})`;
const apostrophe = `(?:['\\x92\\u2019]|${any('&apos;')})`;
const apostropheOrQuote = `(?:${apostrophe}|[\`\\x91\\u2018\\u201B])`;
const stop = '[,;:\\u3001]'; // ends a clause, so that a dot before it is part of an abbreviation
const markup = `<(?:[!?][A-Za-z-][^>\\r\\n]*|[A-Za-z][\\w:.-]*(?: +(?:[A-Za-z][\\w:.-]* *= *(?:'[^']*'|"[^"]*")|[A-Za-z][\\w:.-]*))* */?|/[A-Za-z][\\w:.-]*) *>`;

// Words and numbers.
const word = `${letter}${letterOrDigit}*(?:[.!?]${letter}${letterOrDigit}*)*`;
const number = `(?:${digit}*(?:[.:,\\xAD\\u066B\\u066C]${digit}+)+|${digit}+)`;
const clitic = `${apostrophe}(?:${any('re|ve|ll')}|[msdMSD])`; // 's, 'll
const negation = `[nN]${apostropheOrQuote}[tT]`;
const foreign = `(?:[dDoOlL]${apostropheOrQuote}${alnum})?`; // d'Avignon
const compound = `${foreign}${alnum}+(?:[-_\\u058A\\u2010\\u2011]${foreign}${alnum}+)*`;
const slashed = `[${ascii}]+(?:-[A-Za-z]+){0,2}(?:\\\\?/[${ascii}]+(?:-[A-Za-z]+){0,2}){1,2}`;
const acronymDots = '[A-Za-z](?:\\.[A-Za-z])';
const acronymNames = any('(?:Canada|Sino|Korean|EU|Japan|non)-U\\.S|U\\.S\\.-(?:U\\.S\\.S\\.R|U\\.K)');
const acronym = `(?:${acronymNames}|${acronymDots}*)`;
const hyphened = `[${ascii}][${ascii}.,\\xAD]*(?:-(?:(?:${acronymNames}|${acronymDots}+)\\.|[${ascii}\\xAD]+))+`;
const anded = '[A-Z]+(?:(?:[+&]|&[aA][mM][pP];)[A-Z]+)+';

// Abbreviations of the Wall Street Journal. Those with a character in brackets need it in this case.
const MONTHS_AND_DAYS = any('Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec|Mon|Tues|Tue|Wed|Thurs|Thu|Fri');
const STATES = [
  any('Ala|Ariz|Calif|Colo|Conn|Ct|Dak|Fla|Ga|Ind|Kans?|Ky|Md|Mich|Minn|Mont|Mo|Neb|Nev|Okla|Penn|Tenn|Va|Vt'),
  any('Wisc?|Wyo'),
  ...['Az', 'Ark', 'Del', 'Ill', 'La', 'Mass', 'Miss', 'Ore', 'Pa', 'Tex', 'Wash'].map(
    name => name[0] + any(name.slice(1)),
  ),
].join('|');
const COMPANIES = any('Inc|Cos?|Corp|Pp?t(?:e|y)s?|Ltd|Plc|Rt|Bancorp|Bhd|Assn|Univ|Intl|Sys');
const OTHERS = any('tel|est|ext|sq|Jr|Sr|Bros|(?:Ed|Ph)\\.D|Blvd|Rd|Esq|etc|al|seq|Bldg');
/** Followed by lower case; before a capital, the dot also ends the sentence. */
const abbreviation = `(?:${[MONTHS_AND_DAYS, STATES, COMPANIES, OTHERS].join('|')})\\.`;
const TITLES = any(
  'Mrs|Mr|Ms|Drs?|Profs?|Sens?|Reps?|Attys?|Lt|Col|Gen|Messrs|Govs?|Adm|Rev|Maj|Sgt|Cpl|Pvt|Capt|Ste?|Ave|Pres|' +
    'Lieut|Hon|Brig|Co?mdr|Pfc|Spc|Supts?|Det|Mt|Ft|Adj|Adv|Asst|Assoc|Ens|Insp|Mlle|Mme|Msgr|Sfc',
);
const BEFORE_NAMES = any('vs|Alex|Wm|Jos|Cie|a\\.k\\.a|cf|TREAS|Ph|Invt|Elec|Natl|Dept');
const title = `(?:${TITLES}|M[iI][sS][sS]|M[fF][tT][gG]|[mM][fF]t?[gG]|${BEFORE_NAMES}|${acronym})`;
const beforeNumbers = `(?:${any('ca|figs?|prop|nos?|art|bldg|pp|op')})\\.`;
/** Words that begin a sentence after an acronym. */
const OPENERS =
  'About|According|Additionally|After|An|A|As|At|But|Earlier|Here|Her|He|However|If|In|It|Last|Many|More|Mr\\.|Ms\\.|' +
  'Now|Once|One|Other|Our|She|Since|Some|So|Such|That|Their|There|These|Then|The|They|This|We|When|While|What|Yet|You';
const opener = OPENERS.replace(/[A-Z]\w*/g, name => name[0] + any(name.slice(1)));

// Addresses on the web.
const url = any('https?') + '://[^ \\t\\n\\f\\r"<>|(){}]+[^ \\t\\n\\f\\r"<>|.!?(){},-]';
const path = '(?:/[^ \\t\\n\\f\\r"<>|()]+[^ \\t\\n\\f\\r"<>|.!?(){},-])?';
const host = `${any('www')}\\.(?:[^ \\t\\n\\f\\r"<>|.!?(){},]+\\.)+[a-zA-Z]{2,4}`;
const domain = `(?:[^ \\t\\n\\f\\r"\`'<>|.!?(){}$,-_]+\\.)+(?:${any('com|net|org|edu')})`;
const lessThan = any('&lt;');
const moreThan = any('&gt;');
const mailPart = '[^ \\t\\n\\f\\r"<>|(){}.\\xA0]+';
const mail = `(?:${lessThan}|<)?[a-zA-Z0-9][^ \\t\\n\\f\\r"<>|()\\xA0{}]*@(?:${mailPart}\\.)*${mailPart}(?:${moreThan}|>)?`;
const EXTENSIONS =
  'bat|bmp|class|cgi|cpp|c|dll|docx|doc|exe|gif|gz|html|htm|h|java|jar|jpeg|jpg|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|' +
  'tar|txt|wav|xml|x|zip';
const file = `${letterOrDigit}+(?:\\.${letterOrDigit}+)*\\.(?:${any(EXTENSIONS)})`;

// Words with an apostrophe that are one token.
const apostropheWords = [
  `${apostrophe}[nN]${apostrophe}?`,
  `[lLdDjJ]${apostrophe}`,
  `(?:${any('Dunkin|somethin|ol')})${apostrophe}`,
  `${apostrophe}(?:${any('em|till?|cause')}|[2-9]0[sS])`,
  `[A-HJ-XZn]${apostropheOrQuote}\\p{L}{2,}`,
  `\\p{L}+[aeiouyAEIOUY]${apostropheOrQuote}[aeiouA-Z]\\p{L}*`,
  any("cont'd\\.?|'twas|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l"),
  `[oO]${apostropheOrQuote}[oO]`,
];
const phones = [
  '(?:\\([0-9]{2,3}\\)[ \\xA0]?|(?:\\+\\+?)?(?:[0-9]{2,4}[- \\xA0])?[0-9]{2,4}[- \\xA0])[0-9]{3,4}[- \\xA0]?[0-9]{3,5}',
  '(?:(?:\\+\\+?)?[0-9]{2,4}\\.)?[0-9]{2,4}\\.[0-9]{3,4}\\.[0-9]{3,5}',
];
const treebank = [
  '-(?:RRB|LRB|RCB|LCB|RSB|LSB)-|C\\.D\\.s|pro-|anti-|S(?:&amp;|&)P-500|S(?:&amp;|&)Ls'.replace(/[A-Za-z]+/g, any),
  `[cC]${apostrophe}${any('est')}|${any('Cap')}${apostrophe}[nN]`,
];
const faces = `[-^x=~<>']_[-^x=~<>']|\\([-^x=~<>'][_.]?[-^x=~<>']\\)|\\([\\^x=~<>']-[\\^x=~<>'\`]\\)`;
const symbols =
  '[+%&~^|\\\\\\xA6-\\xA9\\xAC\\xAE-\\xBA\\xD7\\xF7\\u0387\\u05BE\\u05C0\\u05C3\\u05C6\\u05F3\\u05F4\\u0600-\\u0603' +
  '\\u0606-\\u060A\\u060C\\u0614\\u061B\\u061E\\u066A\\u066D\\u0703-\\u070D\\u07F6-\\u07F8\\u0964\\u0965\\u0E4F\\u1FBD' +
  '\\u2016\\u2017\\u2020-\\u2023\\u2030-\\u2038\\u203B\\u203E-\\u2042\\u2044\\u207A-\\u207F\\u208A-\\u208E\\u2100-\\u214F' +
  '\\u2190-\\u2BFF\\u3012\\u30FB\\uFF01-\\uFF0F\\uFF1A-\\uFF20\\uFF3B-\\uFF40\\uFF5B-\\uFF65]';

// What tokens become.
const joined = (token: string): string => token.replaceAll(' ', '\u00A0');
const soft = (token: string): string => token.replaceAll('\u00AD', '') || '-';
const ampersand = (token: string): string => token.replace(/&amp;/gi, '&');
const bracketed = (token: string): string => joined(token).replaceAll('(', '-LRB-').replaceAll(')', '-RRB-');
const always = (text: string | null) => (): string | null => text;
const quote = (opening: boolean) => (token: string) =>
  token
    .replace(/&apos;|'/g, opening ? '`' : "'")
    .replace(/"|&quot;/g, opening ? '``' : "''")
    .replace(/[\x91\u2018\u201B\u2039]/g, '`')
    .replace(/[\x92\u2019\u203A]/g, "'")
    .replace(/[\x93\u201C\xAB]/g, '``')
    .replace(/[\x94\u201D\xBB]/g, "''");
const money = (token: string): string =>
  token
    .replaceAll('\xA2', 'cents')
    .replaceAll('\xA3', '#')
    .replace(/[\x80\xA4\u20A0\u20AC]/g, '$');
const FRACTIONS: Record<string, string> = { '¼': '1/4', '½': '1/2', '¾': '3/4', '⅓': '1/3', '⅔': '2/3' };
const fraction = (token: string): string => FRACTIONS[token] ?? token;

const rule = (token: string, after = '', text?: Rule['text'], again?: Rule['again']): Rule => ({
  pattern: new RegExp(`(${token})${after}`, 'uy'),
  text,
  again,
});
const last =
  (count: number): Rule['again'] =>
  () =>
    count;
/** "I." is the word and a stop; of other acronyms the dot is read twice. */
const acronymStop: Rule = {
  ...rule(`${acronym}\\.`, `${blank}+(?:${opener}|${markup})${blank}`, t => (t.length === 2 ? t[0] : t), last(1)),
};

/** Rules of the tokenizer. The longest match wins, with what follows it; of equally long ones the first. */
export const RULES: readonly Rule[] = [
  rule('[cC]\\+\\+|[cCfF]#'),
  rule(any('cannot'), '', t => t.slice(0, 3), last(3)),
  rule(any("'twas"), '', t => t.slice(0, 2), last(3)),
  rule(any("'tis"), '', t => t.slice(0, 2), last(2)),
  rule(any('gonna|gotta|lemme|gimme|wanna'), '', t => t.slice(0, 3), last(2)),
  rule(markup, '', joined),
  rule(`&(?:${any('MD|mdash|ndash')});|[\\x96\\x97\\u2013-\\u2015]`, '', always('--')),
  rule(any('&amp;'), '', ampersand),
  rule(`&(?:${any('HT|TL|UR|LR|QC|QL|QR|odq|cdq')}|#[0-9]+);`),
  rule(word, clitic, soft),
  rule('[A-Za-z\\xAD]*[A-MO-Za-mo-z]\\xAD*', negation, soft),
  rule(word, '', soft),
  ...apostropheWords.map(pattern => rule(pattern)),
  rule(`[yY]${apostrophe}`, '\\p{L}'),
  rule(url),
  rule(host + path),
  rule(domain + path),
  rule(mail),
  rule(`@[a-zA-Z_]\\w*|#${letter}+`),
  rule(clitic, '[^A-Za-z]', quote(false)),
  rule(negation, '[^A-Za-z]', quote(false)),
  rule(`${digit}{1,2}[-/]${digit}{1,2}[-/]${digit}{2,4}`),
  rule(`[-+]?${number}`, '', soft),
  rule('[\\u207A\\u207B\\u208A\\u208B]?(?:[\\u2070\\xB9\\xB2\\xB3\\u2074-\\u2079]+|[\\u2080-\\u2089]+)'),
  rule(`(?:${digit}{1,4}[- \\xA0])?${digit}{1,4}(?:\\\\?/|\\u2044)${digit}{1,4}`, '', joined),
  rule('[\\xBC-\\xBE\\u2153-\\u215E]', '', fraction),
  ...treebank.map(pattern => rule(pattern, '', ampersand)),
  rule(slashed),
  rule('[A-Z]*\\$|#'),
  rule('[\\xA2-\\xA5\\x80\\u20A0\\u20AC\\u060B\\u0E3F\\u20A4\\uFFE0\\uFFE1\\uFFE5\\uFFE6]', '', money),
  acronymStop,
  rule(beforeNumbers, `${blank}?${digit}`),
  rule(`(?:${any('pt(?:e|y)|co')})\\.`, `${space}(?:${any('ltd|lim')})`),
  rule(abbreviation, `${blank}(?:${blank}|\\p{Lu}|${markup})`, undefined, last(1)),
  rule(abbreviation, '[^][^]'),
  rule(abbreviation, '', undefined, last(1)),
  rule(`${title}\\.`),
  rule(title, space),
  rule(acronym, blank),
  rule(`${apostrophe}[0-9][0-9]`, blank),
  rule(file, `(?:${blank}|[.?!,])`),
  rule(`${word}\\.`, stop, soft),
  ...phones.map(pattern => rule(pattern, '', bracketed)),
  rule(`"|${any('&quot;')}`, `[${ascii}$]`, quote(true)),
  rule(`"|${any('&quot;')}`, '', quote(false)),
  rule('\\x7F', '', always(null)),
  rule(`<|${lessThan}`, '', always('<')),
  rule(`>|${moreThan}`, '', always('>')),
  rule("[<>]?[:;=][-o*']?[()DPdpO\\\\{@|[\\]]", `[^${ascii}]`, bracketed),
  rule(faces, '', bracketed),
  rule('\\{', '', always('-LCB-')),
  rule('\\}', '', always('-RCB-')),
  rule('\\[', '', always('-LSB-')),
  rule('\\]', '', always('-RSB-')),
  rule('\\(', '', always('-LRB-')),
  rule('\\)', '', always('-RRB-')),
  rule('-+', '', t => (t.length === 3 || t.length === 4 ? '--' : t)),
  rule('\\.{3,5}|(?:\\.[ \\xA0]){2,4}\\.|[\\x85\\u2026]', '', always('...')),
  rule('@+|#+|_+'),
  rule('\\*+|(?:\\\\\\*){1,3}'),
  rule(stop),
  rule('[?!]+'),
  rule('[.\\xA1\\xBF\\u037E\\u0589\\u061F\\u06D4\\u0700-\\u0702\\u07FA\\u3002]'),
  rule('[=/]'),
  rule(`${hyphened}\\.`, stop, soft),
  rule(hyphened, '', soft),
  rule(`${compound}\\.`, stop),
  rule(compound),
  rule(`${anded}\\.`, stop, ampersand),
  rule(anded, '', ampersand),
  rule("'", '[A-Za-z][^ \\t\\n\\r\\xA0]', quote(true)),
  rule(clitic, '', quote(false)),
  rule(negation, '', quote(false)),
  rule(`''|${apostrophe}|[\`\\u2018-\\u201F\\x91-\\x94\\u2039\\u203A\\xAB\\xBB]{1,2}`, '', quote(false)),
  rule('<<|>>'),
  rule(symbols),
  rule(`\\0|${space}+|[\\u200B\\u200E\\u200F\\uFEFF]|${newline}|${any('&nbsp;')}`, '', always(null)),
];
