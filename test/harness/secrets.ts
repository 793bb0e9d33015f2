/** Secrets that a test has met, and all that was said: which secret is where it must not be. And where secrets may hide. */
import { createPrivateKey } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@berth/shared/runtime/clock.ts';

/** Shorter ones would be found by chance. */
const LEAST = 8;

export class Secrets {
  readonly #secrets = new Map<string, string>();
  readonly #said: { readonly where: string; readonly text: string }[] = [];

  add(what: string, ...secrets: readonly string[]): void {
    for (const s of secrets) {
      if (s.length < LEAST) throw new Error(`${what}: ${s} is no secret`);
      this.#secrets.set(s.trim(), what);
    }
  }

  said(where: string, text: string): void {
    this.#said.push({ where, text });
  }

  /** How many secrets are known. */
  kinds(): number {
    return this.#secrets.size;
  }

  /** Which secret was said where; as it is, in base64 and in hex. */
  found(): string[] {
    return [...this.#secrets].flatMap(([secret, what]) => {
      const forms = [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), ...encodings(secret)];
      return this.#said.filter((s) => forms.some((f) => s.text.includes(f))).map((s) => `${what}, in ${s.where}`);
    });
  }
}

const encodings = (secret: string): string[] =>
  (['base64', 'base64url', 'hex'] as const).map((e) => Buffer.from(secret).toString(e).replace(/=+$/, ''));

/** Of PEM, also inside JSON: what only the key has, once as its base64 lines and once as hex. */
export function privateKeysIn(text: string): string[] {
  const pems = text
    .replaceAll('\\n', '\n')
    .replace(/^ +/gm, '')
    .match(/-----BEGIN (?:EC )?PRIVATE KEY-----[^-]+-----END (?:EC )?PRIVATE KEY-----/g);
  return (pems ?? []).flatMap((pem) => {
    const { d } = createPrivateKey(pem).export({ format: 'jwk' });
    const [, ...lines] = pem.split('\n');
    // the first line says what kind of key it is, and the last ones are its public half
    return [d ?? '', lines.slice(0, 2).join('\n'), lines[1] ?? ''].filter((s) => s.length >= 40);
  });
}

export function filesBelow(dir: string): string[] {
  return (readdirSync(dir, { recursive: true }) as string[])
    .map((f) => join(dir, f))
    .filter((f) => statSync(f, { throwIfNoEntry: false })?.isFile() ?? false);
}

/** Looks at the command lines of all processes of this machine, again and again, until it is told to end. */
export function watchCommandLines(): { end(): Promise<string> } {
  const seen = new Set<string>();
  let going = true;
  const looking = (async () => {
    while (going) {
      for (const pid of readdirSync('/proc')) if (/^\d+$/.test(pid)) seen.add(commandLineOf(pid));
      await systemClock.sleep(20); // most live longer
    }
  })();
  const all = async (): Promise<string> => {
    going = false;
    await looking;
    return [...seen].join('\n');
  };
  return { end: all };
}

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // it has ended
  }
}
