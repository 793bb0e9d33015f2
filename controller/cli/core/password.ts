/** Passwords from a person: read from the terminal without echo, or from standard input. Never from the command line. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Context } from './context.ts';

const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const RUBOUT = ['\u007f', '\b'];
const LONGEST = 65_536;

export async function readPassword(ctx: Context, prompt: string): Promise<string> {
  const { stdin } = ctx;
  if (!stdin.isTTY) return fromPipe(ctx);
  ctx.stderr.write(`${prompt}: `);
  stdin.setRawMode?.(true);
  try {
    return await typed(ctx);
  } finally {
    stdin.setRawMode?.(false);
    stdin.pause();
    ctx.stderr.write('\n');
  }
}

/** Twice, so that a slip of the finger is noticed; once where nobody types. */
export async function readNewPassword(ctx: Context, prompt: string): Promise<string> {
  const first = await readPassword(ctx, prompt);
  if (ctx.stdin.isTTY && (await readPassword(ctx, 'Again')) !== first)
    throw invalidArgument('the two are not the same; nothing was changed');
  return first;
}

function typed(ctx: Context): Promise<string> {
  let got: string[] = [];
  return new Promise((resolve, reject) => {
    const stop = (): void => void ctx.stdin.off('data', onData);
    const onData = (chunk: Buffer): void => {
      for (const c of chunk.toString()) {
        if (c === '\r' || c === '\n' || c === CTRL_D) return (stop(), resolve(got.join('')));
        if (c === CTRL_C) return (stop(), reject(invalidArgument('given up')));
        if (RUBOUT.includes(c)) got = got.slice(0, -1);
        else got.push(c);
      }
    };
    ctx.stdin.on('data', onData);
    ctx.stdin.resume();
  });
}

/** What is left of standard input; it can be read only once. */
const piped = new WeakMap<object, string[]>();

async function fromPipe(ctx: Context): Promise<string> {
  const lines = piped.get(ctx.stdin) ?? (await linesOf(ctx));
  piped.set(ctx.stdin, lines);
  const line = lines.shift();
  if (line === undefined || line === '') throw invalidArgument('no password on standard input');
  return line;
}

async function linesOf(ctx: Context): Promise<string[]> {
  let got = '';
  for await (const chunk of ctx.stdin) {
    got += String(chunk);
    if (got.length > LONGEST) break;
  }
  return got.split('\n');
}
