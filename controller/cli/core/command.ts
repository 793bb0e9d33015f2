/**
 * What a command is: plain data plus one function. The same definitions make the parser, the help, the completion and
 * the reference page. Not a framework: commander does the parsing.
 */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { parseBytes } from '@berth/shared/units/bytes.ts';
import type { Context } from './context.ts';

export type ObjectKind =
  'host' | 'vm' | 'image' | 'volume' | 'pool' | 'network' | 'job' | 'snapshot' | 'token' | 'user' | 'context' | 'file';

export interface Argument {
  readonly name: string;
  readonly description: string;
  readonly required: boolean;
  /** Takes all that follow; only for the last one. */
  readonly many?: boolean;
  /** What completion offers here: names of such objects, or these words. */
  readonly kind?: ObjectKind;
  readonly choices?: readonly string[];
}

export interface Flag {
  /** As commander writes it: `--disk-size <size>`, `-f, --follow`, `--no-wait`. */
  readonly spec: string;
  readonly description: string;
  readonly kind?: ObjectKind;
  readonly choices?: readonly string[];
  /** May be given several times. */
  readonly many?: boolean;
}

/** Values of the flags by camel-cased name. */
export type Flags = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

export interface Command {
  /** Undefined for commands without a noun: `berth login`. */
  readonly noun?: string;
  /** A word between noun and verb: `berth vm snapshot create`. */
  readonly group?: string;
  readonly verb: string;
  readonly summary: string;
  /** Shown by --help below the flags; examples go here. */
  readonly details?: string;
  readonly args: readonly Argument[];
  /** The same word may be there twice: it is no name. */
  readonly repeats?: boolean;
  readonly flags: readonly Flag[];
  /** Positional arguments flattened in order. Throws ClusterError; returns when done. */
  run(ctx: Context, args: readonly string[], flags: Flags): Promise<void>;
}

export const text = (flags: Flags, name: string): string | undefined => {
  const v = flags[name];
  return typeof v === 'string' ? v : undefined;
};
export const yes = (flags: Flags, name: string): boolean => flags[name] === true;
export const list = (flags: Flags, name: string): readonly string[] => {
  const v = flags[name];
  return Array.isArray(v) ? v : typeof v === 'string' ? [v] : [];
};

/** A whole number, such as of `--limit`. */
export function count(flags: Flags, name: string, otherwise: number, least = 1): number {
  const v = text(flags, name);
  if (v === undefined) return otherwise;
  if (!/^\d{1,9}$/.test(v) || Number(v) < least)
    throw invalidArgument(`--${name} ${v} is not a number from ${least} on`);
  return Number(v);
}

/** Bytes of a size flag; 0n, which leaves the choice to the controller, when it was not given. */
export function bytes(flags: Flags, name: string, flag: string): bigint {
  const given = text(flags, name);
  if (given === undefined) return 0n;
  const n = parseBytes(given);
  if (n === 0) throw invalidArgument(`${flag} ${given}: a size above zero is needed`);
  return BigInt(n);
}

/** `--label a=b --label c=d` → {a: 'b', c: 'd'}. */
export function labels(flags: Flags): Record<string, string> {
  return Object.fromEntries(
    list(flags, 'label').map((pair) => {
      const cut = pair.indexOf('=');
      if (cut < 1) throw invalidArgument(`--label ${pair} is not of the form key=value`);
      return [pair.slice(0, cut), pair.slice(cut + 1)];
    }),
  );
}

/** Flags that several commands share. */
export const OUTPUT: Flag = {
  spec: '-o, --output <format>',
  description: 'how to print it',
  choices: ['table', 'wide', 'json', 'yaml', 'name'],
};
export const NO_WAIT: Flag = { spec: '--no-wait', description: 'print the job and return at once' };
export const RUN_POLICY: Flag = {
  spec: '--run-policy <policy>',
  description: 'start it again by itself: never (manual, the default), after a crash, or always',
  choices: ['manual', 'restartOnFailure', 'always'],
};
export const LABEL: Flag = {
  spec: '--label <key=value>',
  description: 'a label; may be given several times',
  many: true,
};
export const SELECTOR: Flag = {
  spec: '-l, --selector <selector>',
  description: 'only those with such labels: team=a,tier!=db,zone',
};
