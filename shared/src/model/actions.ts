/** Which action is allowed in which state, and why not. One table, for API, command line and console alike. */
import type { VmState } from './vm.ts';

export type VmAction =
  | 'start'
  | 'stop'
  | 'forceStop'
  | 'reboot'
  | 'reset'
  | 'suspend'
  | 'resume'
  | 'save'
  | 'nmi'
  | 'sendKeys'
  | 'screenshot'
  | 'update'
  | 'snapshot'
  | 'revert'
  | 'forceRevert'
  | 'deleteSnapshot'
  | 'customize'
  | 'delete'
  | 'forceDelete'
  | 'console'
  | 'display'
  | 'guest';

export const VM_ACTIONS = {
  // missing: its domain is made again, from its disks
  start: ['stopped', 'saved', 'crashed', 'missing', 'running', 'starting'],
  stop: ['running', 'stopping', 'stopped', 'crashed'],
  forceStop: ['running', 'paused', 'stopping', 'starting', 'stopped', 'crashed'],
  reboot: ['running'],
  reset: ['running', 'paused', 'stopping'],
  suspend: ['running', 'paused'],
  resume: ['paused', 'running'],
  nmi: ['running', 'stopping'],
  sendKeys: ['running', 'stopping'],
  screenshot: ['running', 'paused', 'starting', 'stopping'],
  save: ['running', 'paused', 'saved'],
  update: ['stopped', 'crashed', 'running', 'paused'],
  customize: ['stopped', 'crashed'],
  snapshot: ['stopped', 'crashed', 'running', 'paused'],
  revert: ['stopped', 'crashed'],
  forceRevert: ['stopped', 'crashed', 'saved', 'running', 'paused', 'stopping'],
  deleteSnapshot: ['stopped', 'crashed', 'saved', 'running', 'paused'],
  delete: ['stopped', 'saved', 'crashed', 'missing'],
  forceDelete: ['stopped', 'saved', 'crashed', 'missing', 'running', 'paused', 'starting', 'stopping', 'unknown'],
  guest: ['running'],
  console: ['running', 'paused', 'starting', 'stopping'],
  display: ['running', 'paused', 'starting', 'stopping'],
} as const satisfies Record<VmAction, readonly VmState[]>;

export const can = (action: VmAction, state: VmState): boolean =>
  (VM_ACTIONS[action] as readonly VmState[]).includes(state);

const AWAY = 'Its host does not answer now (see: berth host list).';

const START = 'Start it first (berth vm start {name}).';
const STOP = 'Its disk can be changed when it is stopped: shut it down first (berth vm stop {name}).';
const RESUME = 'Let it go on first (berth vm resume {name}).';
const SAVED =
  'It takes nothing but disk: it goes on with berth vm start {name}, or boots afresh with berth vm start {name} --discard-saved.';
const UP_FIRST = 'Wait until it runs.';
const LOSES = 'What it has done since would be lost: shut it down first (berth vm stop {name}), or use --force.';
const NO_DOMAIN = 'Its domain is gone from its host: a start makes it anew (berth vm start {name}).';
/** Of what needs a guest that runs. */
const OFF = { stopped: START, saved: START, crashed: START, unknown: AWAY } as const;

const ADVICE: Readonly<Record<VmAction, Partial<Record<VmState, string>>>> = {
  start: { paused: 'Let it go on instead (berth vm resume {name}).', unknown: AWAY },
  stop: {
    starting: 'Wait until it runs, or use --force.',
    saved: SAVED,
    paused: 'Its guest hears no power button: resume it first (berth vm resume {name}), or use --force.',
    unknown: AWAY,
  },
  forceStop: { saved: SAVED, unknown: AWAY },
  reboot: {
    ...OFF,
    paused: 'Its guest hears no power button: resume it first (berth vm resume {name}), or reset it.',
    starting: UP_FIRST,
    stopping: 'Its guest shuts down. Wait for that, or press the reset button (berth vm reset {name}).',
  },
  reset: { ...OFF, starting: UP_FIRST },
  suspend: { ...OFF, starting: UP_FIRST, stopping: 'Its guest shuts down.' },
  resume: { ...OFF, starting: 'It comes up by itself.', stopping: 'Its guest shuts down.' },
  delete: {
    running: 'Shut it down first (berth vm stop {name}), or delete it with --force.',
    paused: 'Stop it first (berth vm stop {name} --force), or delete it with --force.',
    starting: 'Shut it down first (berth vm stop {name}), or delete it with --force.',
    stopping: 'Wait until it has stopped, or delete it with --force.',
    unknown: 'Its host does not answer; with --force it is forgotten now and removed from the host when it comes back.',
  },
  update: {
    saved: `What is in its memory fits what it is now. Let it go on (berth vm start {name}), or boot it afresh with --discard-saved, first.`,
    starting: UP_FIRST,
    stopping: 'Wait until it has stopped.',
    missing: 'Its domain is gone from its host: a start makes it anew (berth vm start {name}).',
    unknown: AWAY,
  },
  customize: {
    running: STOP,
    paused: 'Its disk can be changed when it is stopped (berth vm stop {name} --force).',
    stopping: 'Wait until it has stopped.',
    starting: STOP,
    saved: `What is in its memory fits its disk as it is. Let it go on (berth vm start {name}), and stop it, first.`,
    missing: 'Its domain is gone from its host: a start makes it anew (berth vm start {name}).',
    unknown: AWAY,
  },
  snapshot: {
    saved: 'What it holds in memory is not on its disks. Let it go on first (berth vm start {name}).',
    starting: UP_FIRST,
    stopping: 'Wait until it has stopped.',
    missing: NO_DOMAIN,
    unknown: AWAY,
  },
  revert: {
    running: LOSES,
    paused: LOSES,
    stopping: 'Wait until it has stopped.',
    starting: UP_FIRST,
    saved: 'What it holds in memory would not fit its disks any more: give that up with --force.',
    missing: NO_DOMAIN,
    unknown: AWAY,
  },
  forceRevert: { starting: UP_FIRST, missing: NO_DOMAIN, unknown: AWAY },
  deleteSnapshot: { starting: UP_FIRST, stopping: 'Wait until it has stopped.', missing: NO_DOMAIN, unknown: AWAY },
  forceDelete: {},
  save: { ...OFF, starting: UP_FIRST, stopping: 'Its guest shuts down.' },
  nmi: { ...OFF, starting: UP_FIRST, paused: RESUME },
  sendKeys: { ...OFF, starting: UP_FIRST, paused: RESUME },
  screenshot: OFF,
  guest: { ...OFF, starting: UP_FIRST, paused: RESUME, stopping: 'Its guest shuts down.' },
  console: { stopped: START, saved: START, crashed: START, missing: NO_DOMAIN, unknown: AWAY },
  display: { ...OFF, missing: NO_DOMAIN },
};

/** Undefined when allowed; otherwise one line for people. */
export function whyNot(
  action: VmAction,
  vm: { name: string; state: VmState; host: string | undefined },
): string | undefined {
  if (can(action, vm.state)) return undefined;
  const where = vm.host ? ` on ${vm.host}` : '';
  const advice = ADVICE[action][vm.state] ?? `Allowed when it is ${VM_ACTIONS[action].join(', ')}.`;
  return `vm ${vm.name} is ${vm.state}${where}. ${advice.replaceAll('{name}', vm.name)}`;
}
