/** berth vm vnc, berth vm spice: the screen of a VM on the person's machine, as an address for a viewer, or in one. */
import { VmDisplayKind } from '@berth/proto/v1/display.ts';
import { VmState } from '@berth/proto/v1/vm.ts';
import { invalidArgument, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { Api } from '../core/api.ts';
import { text, type Command, type Flags } from '../core/command.ts';
import { hasDesktop } from '../core/config.ts';
import { note, print, type Context } from '../core/context.ts';
import { findProgram, runProgram } from '../core/programs.ts';
import { vmStateWord } from '../core/words.ts';
import { listen, openDisplay, type Display, type DisplayPort } from './display-port.ts';

interface Viewer {
  readonly program: string;
  args(host: string, port: number): string[];
}

interface Sort {
  readonly verb: 'vnc' | 'spice';
  readonly kind: VmDisplayKind;
  /** The best first. */
  readonly viewers: readonly Viewer[];
}

const old = (program: string): Viewer => ({ program, args: (host, port) => [`${host}::${port}`] });
const uri = (scheme: string): Viewer => ({
  program: 'remote-viewer',
  args: (host, port) => [`${scheme}://${host}:${port}`],
});

const VNC: Sort = {
  verb: 'vnc',
  kind: VmDisplayKind.VNC,
  viewers: [uri('vnc'), ...['vncviewer', 'xtigervncviewer', 'xtightvncviewer'].map(old)],
};
const SPICE: Sort = {
  verb: 'spice',
  kind: VmDisplayKind.SPICE,
  viewers: [uri('spice'), { program: 'spicy', args: (host, port) => ['-h', host, '-p', String(port)] }],
};

const LOOK_MS = 2_000;
const ON: readonly VmState[] = [
  VmState.RUNNING,
  VmState.PAUSED,
  VmState.STARTING,
  VmState.STOPPING,
  VmState.UNKNOWN,
  VmState.UNRECOGNIZED,
];

const command = (sort: Sort): Command => ({
  noun: 'vm',
  verb: sort.verb,
  summary: `show the screen of a VM by ${sort.verb.toUpperCase()}: opens a viewer, or prints an address for one`,
  details:
    'The address is on this machine and leads to the VM through the controller, until Ctrl-C or until the VM stops. ' +
    'Whoever can connect to it sees the screen: by default that is this machine alone.',
  args: [{ name: 'vm', description: 'the VM', required: true, kind: 'vm' }],
  flags: [
    { spec: '--listen <address:port>', description: 'where (default 127.0.0.1, and any free port)' },
    { spec: '--open', description: 'open a viewer (the default where there is a desktop and one is installed)' },
    { spec: '--no-open', description: 'only print the address' },
  ],
  run: (ctx, [vm = ''], flags) => show(ctx, sort, vm, flags),
});

export const vmVnc = command(VNC);
export const vmSpice = command(SPICE);

async function show(ctx: Context, sort: Sort, nameOrId: string, flags: Flags): Promise<void> {
  const at = parseListen(text(flags, 'listen') ?? '127.0.0.1');
  const viewer = chooseViewer(ctx, sort, flags);
  const api = await ctx.api();
  const vm = await api.call(api.vms, (c) => c.getVm, { vm: nameOrId });
  const display = { vmId: vm.id, kind: sort.kind };
  (await openDisplay(api, display)).cancel(); // so that what can't be shown is told now, and not to a viewer
  const port = await listen(api, display, at, (e) => note(ctx, `a viewer was cut off: ${e.message}`));
  try {
    print(ctx, `${port.address.includes(':') ? `[${port.address}]` : port.address}:${port.port}`);
    const how = viewer ? `Opening ${viewer.program}.` : `Connect a viewer: ${manual(sort, port)}.`;
    note(ctx, `The screen of ${vm.name} on ${vm.host}, by ${sort.verb.toUpperCase()}. ${how} Ctrl-C ends.`);
    if (!isLoopback(port.address)) note(ctx, 'Anybody who can connect to this address sees the screen.');
    await ended(ctx, api, { ...display, name: vm.name }, viewer && (() => run(viewer, port)));
  } finally {
    port.close();
  }
}

const near = (address: string): string => ({ '0.0.0.0': '127.0.0.1', '::': '::1' })[address] ?? address;

const run = (viewer: Viewer, port: DisplayPort): Promise<number> =>
  runProgram(viewer.program, viewer.args(near(port.address), port.port), 'use --no-open');

const manual = ({ verb, viewers }: Sort, { address, port }: DisplayPort): string =>
  [
    `remote-viewer ${verb}://${near(address)}:${port}`,
    ...(viewers.length > 2 ? [`vncviewer ${near(address)}::${port}`] : []),
  ].join(', or ');

function chooseViewer(ctx: Context, { viewers }: Sort, flags: Flags): Viewer | undefined {
  const wanted = flags['open'];
  if (wanted === false || (wanted !== true && !(hasDesktop() && ctx.stdout.isTTY))) return undefined;
  const found = findProgram(viewers);
  if (found || wanted !== true) return found;
  const names = viewers.map((v) => v.program).join(', ');
  throw unsupported(
    `no viewer is installed here (${names}); install one: apt-get install virt-viewer. Or use --no-open`,
  );
}

/** By Ctrl-C, because the VM is off, or because its viewer was closed. */
async function ended(
  ctx: Context,
  api: Api,
  { vmId, name }: Display & { readonly name: string },
  view: (() => Promise<number>) | undefined,
): Promise<void> {
  const over = new AbortController();
  const end = () => over.abort();
  ctx.signal.addEventListener('abort', end, { once: true });
  if (ctx.signal.aborted) end();
  const viewing = view?.().finally(end);
  while (!over.signal.aborted) {
    await ctx.clock.sleep(LOOK_MS, over.signal).catch(() => undefined);
    const vm = await api.call(api.vms, (c) => c.getVm, { vm: vmId }).catch(() => undefined);
    if (!vm || ON.includes(vm.state) || over.signal.aborted) continue;
    note(ctx, `${name} is ${vmStateWord(vm.state)}.`);
    return;
  }
  await viewing;
}

/** `5901`, `127.0.0.1`, `127.0.0.1:5901`, `[::1]:5901`; a port of 0 is any free one. */
export function parseListen(given: string): { readonly host: string; readonly port: number } {
  const [, host = '', digits = ''] =
    /^(\d{1,5})$/.test(given) && Number(given) > 255
      ? ['', '127.0.0.1', given]
      : (/^\[([0-9a-fA-F:]+)\](?::(\d{1,5}))?$/.exec(given) ?? /^([^:[\]\s]+)(?::(\d{1,5}))?$/.exec(given) ?? []);
  const port = Number(digits || 0);
  if (host === '' || port > 65_535) throw invalidArgument(`--listen ${given} is not of the form 127.0.0.1:5901`);
  return { host, port };
}

const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.');
