/**
 * Takes secrets out of text that others wrote: logs, configurations, anything that is to leave the installation. By what they look
 * like, because nothing says where they are; rather too much than too little. Linear in the length of the text. Pure.
 */

const GONE = '[redacted]';

/** What a secret is called; also as the end of a longer name, and in snake_case and kebab-case. */
const NAMES =
  '(?:pass(?:word|wd|phrase)?|secret|token|ticket|credentials?|private[_-]?key|api[_-]?key|key[_-]?pem|authorization|cookie|user[_-]?data|chpasswd)';

const RULES: readonly (readonly [RegExp, string])[] = [
  // lines that Berth hands out, and tokens: <id>.<secret>
  [/berth-(join|login):1:[A-Za-z0-9_-]+/g, `berth-$1:1:${GONE}`],
  [/\b(token-[0-9a-z]{8,40})\.[A-Za-z0-9_-]{16,}/g, `$1.${GONE}`],
  // "password": "…" of JSON, also where the JSON is inside a string
  [new RegExp(`(["'][\\w-]{0,40}${NAMES}\\\\?["']\\s{0,4}:\\s{0,4})"(?:[^"\\\\\\n]|\\\\.)*"`, 'gi'), `$1"${GONE}"`],
  [new RegExp(`(\\\\"[\\w-]{0,40}${NAMES}\\\\"\\s{0,4}:\\s{0,4})\\\\"[^"\\n]*`, 'gi'), `$1\\"${GONE}\\`],
  // --password s3cret
  [new RegExp(`(--[\\w-]{0,40}${NAMES})\\s+(?!-|\\[redacted\\])[^\\s]+`, 'gi'), `$1 ${GONE}`],
  // Authorization: Bearer …
  [/\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi, `$1 ${GONE}`],
  // password: …, --token=…, TICKET=…; only names that stand alone or end in it, and never what says that there is none
  [
    new RegExp(`(${NAMES})(\\s{0,4}[:=]\\s{0,4})(?!\\[redacted\\]|["']?\\[redacted\\]|["'{[(])([^\\s,;&"')}]+)`, 'gi'),
    `$1$2${GONE}`,
  ],
  [new RegExp(`(${NAMES})(\\s{0,4}[:=]\\s{0,4})(["'])(?!\\[redacted\\])[^"'\\n]+\\3`, 'gi'), `$1$2$3${GONE}$3`],
  // QEMU: -object secret,id=…,data=…
  [/(\bsecret,[^\s]{0,200}\bdata=)[^\s,]+/g, `$1${GONE}`],
  [/("qom-type"\s*:\s*"secret"[^}\n]{0,300}"data"\s*:\s*")[^"\n]+/g, `$1${GONE}`],
  // https://user:password@host
  [/([a-z][a-z0-9+.-]{1,20}:\/\/[^\s/:@]{0,64}):[^\s/@]{1,200}@/gi, `$1:${GONE}@`],
  // hashes of passwords, as in /etc/shadow and as scrypt writes them
  [/\$(?:[1256y]|2[abxy]|argon2\w{0,2}|scrypt)\$[./A-Za-z0-9$,=+-]{8,}/g, GONE],
];

/** 256 bits as Berth writes them: tickets, secrets of tokens. Hex digests are longer, and have no upper case. */
const BARE = /(?<![\w-])[A-Za-z0-9_-]{43}(?![\w-])/g;
const bare = (text: string): string => (/[a-z]/.test(text) && /[A-Z]/.test(text) ? GONE : text);

export function scrub(text: string): string {
  let clean = withoutKeys(text);
  for (const [pattern, instead] of RULES) clean = clean.replace(pattern, instead);
  return clean.replace(BARE, bare);
}

const BEGIN = /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----/g;
const END = /-----END [A-Z ]{0,30}PRIVATE KEY-----/g;
/** Letters of a key in PEM, also where line feeds are written as \n. */
const BODY = /[A-Za-z0-9+/=\s\\]/;
const LONGEST_KEY = 16_384;

/** A key whose beginning or end was cut off is one, too. */
function withoutKeys(text: string): string {
  const clean: string[] = [];
  let at = 0;
  let begin = find(BEGIN, text, 0);
  let end = find(END, text, 0);
  while (begin !== undefined || end !== undefined) {
    if (begin !== undefined && (end === undefined || begin.from < end.from)) {
      const after = skipBody(text, begin.to);
      clean.push(text.slice(at, begin.from));
      at = end?.from === after ? end.to : after;
    } else if (end !== undefined) {
      clean.push(text.slice(at, backOverBody(text, end.from, at)));
      at = end.to;
    }
    clean.push('[redacted private key]');
    // each is looked for once, however many there are of the other
    if (begin !== undefined && begin.from < at) begin = find(BEGIN, text, at);
    if (end !== undefined && end.from < at) end = find(END, text, at);
  }
  return clean.join('') + text.slice(at);
}

function find(pattern: RegExp, text: string, from: number): { from: number; to: number } | undefined {
  pattern.lastIndex = from;
  const m = pattern.exec(text);
  return m === null ? undefined : { from: m.index, to: m.index + m[0].length };
}

function skipBody(text: string, from: number): number {
  let at = from;
  while (at < text.length && at - from < LONGEST_KEY && BODY.test(text.charAt(at))) at++;
  return at;
}

/** Back to where lines begin that are not of a key. */
function backOverBody(text: string, end: number, least: number): number {
  let at = end;
  while (at > least && end - at < LONGEST_KEY && BODY.test(text.charAt(at - 1))) at--;
  return at;
}
