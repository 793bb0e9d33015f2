/**
 * A table that goes on: asks the controller every few seconds for as many rows as fit, and at once when a key changes what is
 * wanted. A controller that is away for a while leaves the last table standing, with a word above it.
 */
import { chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { safeText } from '@berth/shared/units/text.ts';
import type { Context } from '../core/context.ts';
import { tableLines, type Column } from '../output/table.ts';
import { openScreen, type Ends } from './screen.ts';

export const SORTS = ['cpu', 'memory', 'disk', 'net', 'name'] as const;
export type Sort = (typeof SORTS)[number];

export interface Answer<R> {
  readonly rows: readonly R[];
  /** What is said of all of them together. */
  readonly head: string;
  readonly empty: string;
}
export interface LiveTop<R> {
  readonly title: string;
  readonly sort: Sort;
  readonly wide: boolean;
  readonly everyMs: number;
  readonly columns: readonly Column<R>[];
  /** The first `limit` rows. */
  ask(sort: Sort, limit: number): Promise<Answer<R>>;
}

const KEYS: Readonly<Record<string, Sort>> = { c: 'cpu', m: 'memory', d: 'disk', n: 'net', a: 'name' };
const LEAVE = new Set(['q', 'Q', '\x03', '\x04', '\x1b']);
const HELP = 'sort: c cpu  m memory  d disk  n net  a name    w more columns  q ends';
/** Title, help, an empty line, the heading of the table. */
const ABOVE = 4;

/** Returns when the person leaves. Throws what asking again can't mend; the terminal is put back before. */
export async function liveTop<R>(ctx: Context, top: LiveTop<R>, ends: Ends = process): Promise<void> {
  let { sort, wide } = top;
  let answer: Answer<R> | undefined;
  let trouble = '';
  const leave = new AbortController();
  let again = new AbortController();
  const draw = (): void => screen.draw(picture());
  const screen = openScreen(
    ctx,
    {
      key(name) {
        if (LEAVE.has(name)) return leave.abort();
        if (name === 'w') wide = !wide;
        if (KEYS[name] !== undefined) sort = KEYS[name];
        draw();
        if (KEYS[name] !== undefined) again.abort();
      },
      // more rows may fit now
      resized: () => (draw(), again.abort()),
    },
    ends,
  );
  const picture = (): string[] => {
    const said = trouble === '' ? (answer?.head ?? 'asking the controller …') : trouble;
    const at = new Date(ctx.clock.now()).toTimeString().slice(0, 8);
    const head = [`${top.title} by ${sort}  ${at}  ${said}`, HELP, ''];
    if (answer === undefined) return head;
    const table = tableLines(top.columns, answer.rows, wide, screen.columns);
    return [...head, ...(answer.rows.length === 0 ? [answer.empty] : table)].map((l) => safeText(l));
  };
  const over = AbortSignal.any([leave.signal, ctx.signal]);
  over.addEventListener('abort', () => again.abort(), { once: true });
  try {
    draw();
    while (!over.aborted) {
      again = new AbortController();
      try {
        const next = top.ask(sort, Math.max(1, screen.rows - ABOVE));
        answer = await unless(next, over);
        trouble = '';
      } catch (e) {
        if (over.aborted) break;
        if (!isClusterError(e, 'CONTROLLER_UNREACHABLE', 'RATE_LIMITED')) throw e;
        trouble = `${chain(e).split('\n')[0]}; trying again`;
      }
      draw();
      await ctx.clock.sleep(top.everyMs, again.signal).catch(() => undefined);
    }
  } finally {
    screen.restore();
  }
}

/** Nobody waits for an answer who has left. */
function unless<T>(work: Promise<T>, over: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const left = (): void => reject(new Error('left'));
    over.addEventListener('abort', left, { once: true });
    work.then(resolve, reject).finally(() => over.removeEventListener('abort', left));
  });
}
