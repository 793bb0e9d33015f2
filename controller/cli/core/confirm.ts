/** A question with yes or no, asked on the terminal; whoever is not there says no. */
import { createInterface } from 'node:readline/promises';
import type { Context } from './context.ts';

/** No when nobody can be asked. */
export async function confirm(ctx: Context, question: string): Promise<boolean> {
  if (!ctx.stdin.isTTY) return false;
  const lines = createInterface({ input: ctx.stdin, output: ctx.stderr });
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `, { signal: ctx.signal })).trim());
  } finally {
    lines.close();
  }
}
