/** What a command gets to work with: the API, the two output streams, the clock. Made once by main.ts; faked in tests. */
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { safeText } from '@berth/shared/units/text.ts';
import type { Api } from './api.ts';
import type { ConfigStore } from './config.ts';

export interface Context {
  /** Connects at the first use. */
  readonly api: () => Promise<Api>;
  readonly config: ConfigStore;
  readonly clock: Clock;
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** A failure among many, already reported: the exit code will be at least this. */
  fail(code: number): void;
  /** From here on the command ends with its work, also when nobody reads its output any more. */
  finishUnread(): void;
}

export const print = (ctx: Context, line: string): void => void ctx.stdout.write(`${safeText(line)}\n`);
export const note = (ctx: Context, line: string): void => void ctx.stderr.write(`${safeText(line)}\n`);
