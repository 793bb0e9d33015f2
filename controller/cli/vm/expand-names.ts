/** `web-{01..20}`: names that the shell has not expanded, because they were quoted or it knows no braces. No name of a VM has any. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';

const MOST = 2000;

/** As bash does: numbers keep their width, lists are taken in order, several braces are multiplied. INVALID_ARGUMENT. */
export function expandNames(names: readonly string[]): readonly string[] {
  const all: string[] = [];
  for (const name of names) {
    for (const one of expand(name, name)) {
      if (all.push(one) > MOST) throw invalidArgument(`${name} makes more than ${MOST} names: divide them`);
    }
  }
  const twice = all.find((n, i) => all.indexOf(n) !== i);
  if (twice !== undefined) throw invalidArgument(`${twice} is named twice`);
  return all;
}

function* expand(name: string, whole: string): Generator<string> {
  const [, before = '', inside = '', after = ''] = /^([^{}]*)\{([^{}]*)\}(.*)$/s.exec(name) ?? [];
  if (inside === '') {
    if (/[{}]/.test(name)) throw unclear(whole);
    return yield name;
  }
  for (const one of choices(inside, whole)) for (const rest of expand(after, whole)) yield `${before}${one}${rest}`;
}

function choices(inside: string, whole: string): readonly string[] {
  if (inside.includes(',')) return inside.split(',');
  const [, from, to] = /^(\d{1,9})\.\.(\d{1,9})$/.exec(inside) ?? [];
  if (from === undefined || to === undefined) throw unclear(whole);
  const padded = /^0\d/.test(from) || /^0\d/.test(to);
  const width = padded ? Math.max(from.length, to.length) : 0;
  const [first, last] = [Number(from), Number(to)];
  if (Math.abs(last - first) >= MOST) throw invalidArgument(`${whole} makes more than ${MOST} names: divide them`);
  const step = last >= first ? 1 : -1;
  return Array.from({ length: Math.abs(last - first) + 1 }, (_, i) => String(first + i * step).padStart(width, '0'));
}

const unclear = (name: string): Error =>
  invalidArgument(`${name} cannot be expanded: write it like web-{01..20} or web-{a,b,c}`);
