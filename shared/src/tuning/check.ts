/** What settings of a host's kernel are called, and which values they take. Pure; which of them a host has only it can tell. */
import { invalidArgument } from '../errors/cluster-error.ts';
import type { Tuning } from '../model/tuning.ts';
import { parseBytes, unitBytes } from '../units/bytes.ts';

/** Of one host: each disk may have one. */
export const MOST_SETTINGS = 256;

const SWITCHES: ReadonlyMap<string, readonly string[]> = new Map([
  ['ksm', ['on', 'off']],
  ['thp', ['always', 'madvise', 'never']],
]);
const NAMES = 'ksm, thp, swappiness, hugepages/SIZE, io-scheduler/DISK';
const DISK = /^(?!\.)[A-Za-z0-9!_.-]{1,64}$/;
const SCHEDULER = /^[a-z][a-z0-9_-]{0,31}$/;
const MOST_PAGES = 2 ** 31;
const [SMALLEST_PAGE, LARGEST_PAGE] = [16 * 1024, 16 * 2 ** 30];

/** All of them in the one spelling that is stored. @throws INVALID_ARGUMENT */
export function checkTuning(given: Tuning): Tuning {
  const all = Object.entries(given).map(([name, value]) => checkSetting(name, value));
  if (all.length > MOST_SETTINGS)
    throw invalidArgument(`${all.length} settings are too many: at most ${MOST_SETTINGS}`);
  const twice = all.find(([name], i) => all.findIndex(([other]) => other === name) !== i);
  if (twice) throw invalidArgument(`${twice[0]} is given twice`);
  return Object.fromEntries(all);
}

function checkSetting(given: string, value: string): readonly [string, string] {
  const name = checkSettingName(given);
  const [kind = '', what = ''] = name.split('/');
  const choices = SWITCHES.get(kind);
  if (choices && !choices.includes(value)) throw bad(name, value, `one of ${choices.join(', ')}`);
  if (kind === 'swappiness') return [name, whole(name, value, 200)];
  if (kind === 'hugepages') return [name, whole(name, value, MOST_PAGES)];
  if (kind === 'io-scheduler' && !SCHEDULER.test(value)) throw bad(name, value, `a scheduler of ${what}, such as none`);
  return [name, value];
}

/** `hugepages/2M` is `hugepages/2MiB`. @throws INVALID_ARGUMENT for what is no setting. */
export function checkSettingName(given: string): string {
  const [kind = '', what, more] = given.slice(0, 100).split('/');
  const bare = SWITCHES.has(kind) || kind === 'swappiness';
  if (bare && what === undefined) return kind;
  if (kind === 'hugepages' && what !== undefined && more === undefined) return hugePagesName(pageSize(what));
  if (kind === 'io-scheduler' && what !== undefined && more === undefined && DISK.test(what)) return given;
  throw invalidArgument(`${JSON.stringify(given.slice(0, 80))} is no setting of a host: known are ${NAMES}`);
}

function pageSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes < SMALLEST_PAGE || bytes > LARGEST_PAGE || !Number.isInteger(Math.log2(bytes)))
    throw invalidArgument(`${text.slice(0, 40)} is not the size of a large page: most hosts have 2MiB and 1GiB`);
  return bytes;
}

function whole(name: string, value: string, most: number): string {
  if (!/^\d{1,10}$/.test(value) || Number(value) > most) throw bad(name, value, `a whole number from 0 to ${most}`);
  return String(Number(value));
}

const bad = (name: string, value: string, wanted: string) =>
  invalidArgument(`${name} cannot be ${JSON.stringify(value.slice(0, 80))}: it takes ${wanted}`);

export const hugePagesName = (sizeBytes: number): string => `hugepages/${unitBytes(sizeBytes)}`;
