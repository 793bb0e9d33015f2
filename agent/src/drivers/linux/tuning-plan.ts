/** Which files to write, and why not. Pure: settings as they are and as wanted in, writes out; what must not be is refused whole. */
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Tuning } from '@berth/shared/model/tuning.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Knob } from './tuning-knobs.ts';

export interface Step {
  readonly name: string;
  readonly value: string;
  readonly path: string;
  readonly text: string;
  /** What to write to have it as it was. */
  readonly before: string;
}

/** What the host itself must keep of the memory that is available now. */
const RESERVE_BYTES = 512 * 2 ** 20;

/** @returns writes that are needed, large pages given back before others are taken. @throws INVALID_ARGUMENT, BAD_STATE */
export function planTuning(knobs: readonly Knob[], wanted: Tuning, availableBytes: number): readonly Step[] {
  const changes = Object.entries(wanted).flatMap(([name, value]) => {
    const knob = knobs.find((k) => k.seen.name === name);
    if (knob === undefined) throw notHere(name, knobs);
    const { seen } = knob;
    if (seen.choices.length > 0 && !seen.choices.includes(value))
      throw invalidArgument(`${name} cannot be ${value} on this host: it takes ${seen.choices.join(', ')}`);
    return seen.value === value ? [] : [{ knob, value }];
  });
  checkPages(changes, availableBytes);
  return [...changes]
    .sort((a, b) => moreBytes(a) - moreBytes(b))
    .map(({ knob, value }) => ({
      ...{ name: knob.seen.name, value, path: knob.path },
      ...{ text: knob.textOf(value), before: knob.textOf(knob.seen.value) },
    }));
}

interface Change {
  readonly knob: Knob;
  readonly value: string;
}

/** Memory that it takes, or gives back. */
const moreBytes = ({ knob, value }: Change): number =>
  knob.pages === undefined ? 0 : (Number(value) - Number(knob.seen.value)) * knob.pages.sizeBytes;

function checkPages(changes: readonly Change[], availableBytes: number): void {
  for (const { knob, value } of changes)
    if (knob.pages && Number(value) < knob.pages.used)
      throw badState(
        `${knob.seen.name} cannot be ${value}: VMs use ${knob.pages.used} of these pages; stop them first`,
      );
  const wantedBytes = changes.reduce((sum, c) => sum + moreBytes(c), 0);
  const roomBytes = Math.max(0, availableBytes - RESERVE_BYTES);
  if (wantedBytes <= roomBytes) return;
  throw badState(
    `large pages would take ${formatBytes(wantedBytes)} more, but ${formatBytes(roomBytes)} can be had on this host now (${formatBytes(RESERVE_BYTES)} stay with the host itself)`,
  );
}

function notHere(name: string, knobs: readonly Knob[]) {
  const kind = name.split('/')[0] ?? '';
  const alike = knobs.map((k) => k.seen.name).filter((n) => n.startsWith(`${kind}/`));
  const there = alike.length > 0 ? `: it has ${alike.slice(0, 10).join(', ')}` : '';
  return invalidArgument(`this host has no setting ${name}${there}`);
}
