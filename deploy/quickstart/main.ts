/**
 * The quickstart: a controller, some hosts, an image, two VMs that run, shown from the outside as a user would do it. Each
 * phase makes sure of something, so that a second run only finds what is there. The set-up of the machine is setup.js's.
 */
import type { Api } from '@berth/controller/cli/core/api.ts';
import type { Endpoint } from '@berth/controller/cli/core/config.ts';
import { createLive, type Live } from '@berth/controller/cli/output/live.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { durationText, phaseLine } from '../setup/phases.js';
import { ensureController, stopController } from './controller.ts';
import { ensureContainers, ensureHosts, labOf, stopHosts } from './hosts.ts';
import { alone } from './lock.ts';
import { loadState, removeState, saveState, type QuickstartState } from './state.ts';
import { forgetContext, rememberContext } from './user-context.ts';
import { ensureImage, ensureVms, guestLines, imageLine, inventory, type Phase } from './workload.ts';

export interface QuickstartOptions {
  readonly hosts: number;
  readonly simulate: boolean;
  readonly guestImage: string | undefined;
}

const VMS = ['web', 'db'];

export const quickstart = (o: QuickstartOptions): Promise<void> => alone(() => run(o));

async function run(o: QuickstartOptions): Promise<void> {
  const live = createLive({ stdout: process.stdout, stderr: process.stderr, clock: systemClock });
  const print = (line: string) => live.final(line);
  const phase = phases(live);
  try {
    const before = await mend(o, print);
    saveState({
      previousContext: before?.previousContext,
      simulate: o.simulate,
      hosts: Math.max(o.hosts, before?.hosts ?? 0),
    });
    const names = Array.from({ length: o.hosts }, (_, i) => `h${i + 1}`);
    const address = o.simulate
      ? '127.0.0.1'
      : await phase('containers', async () => {
          const gateway = await ensureContainers(names);
          return { detail: `${names.length}, each with its own libvirt`, value: gateway };
        });
    const { api, endpoint } = await phase('controller', async () => {
      const c = await ensureController(address);
      return { detail: c.address, value: c };
    });
    remember(endpoint);
    try {
      const all = names.length > 4 ? `h1 … h${names.length}` : names.join(' ');
      await phase(`hosts ${all}`, async () => ({
        detail: await ensureHosts(api, o.simulate, names),
        value: undefined,
      }));
      await work(api, o, phase, print);
    } finally {
      api.close();
    }
  } finally {
    live.end();
  }
}

async function work(api: Api, o: QuickstartOptions, phase: Phase, print: (line: string) => void): Promise<void> {
  const copies = await phase('image base', async () => {
    const image = await ensureImage(api, o.guestImage);
    return { detail: imageLine(image), value: image.copies.map((c) => c.host) };
  });
  const before = await ensureVms(api, VMS, copies, phase);
  const said = await phase('guests', async () => ({
    detail: 'booted, as their consoles say',
    value: await guestLines(api, VMS, before),
  }));
  print('');
  [...said, '', ...(await inventory(api)), '', ...NEXT].forEach(print);
}

const NEXT = [
  'Try:  npx berth vm list             npx berth vm console web        npx berth host list',
  '      npx berth vm clone base app   npx berth vm start app          npx berth event list',
  'Stop: npm run quickstart -- --down',
];

/** A line for each phase that is done, and on a terminal one that counts the seconds of those at work. */
function phases(live: Live): Phase {
  return async (title, work) => {
    const startedMs = systemClock.monotonic();
    const tookMs = () => Math.max(1, systemClock.monotonic() - startedMs);
    let timer: { cancel(): void } | undefined;
    const tick = (): void => {
      live.set(title, ` … ${title.padEnd(26)} ${durationText(tookMs())}`);
      timer = systemClock.after(1_000, tick);
    };
    tick();
    try {
      const { detail, value } = await work();
      live.set(title, undefined);
      live.final(phaseLine({ title, state: 'done', detail, ms: tookMs() }));
      return value;
    } finally {
      timer?.cancel();
      live.set(title, undefined);
    }
  };
}

/** What an earlier run left is used. Where too much of it is lost, all of it is removed, with a line about it. */
async function mend(o: QuickstartOptions, print: (line: string) => void): Promise<QuickstartState | undefined> {
  const before = loadState();
  if (!before) return undefined;
  const why =
    before.simulate === o.simulate
      ? await loss(before, print)
      : `has ${before.simulate ? 'simulated hosts' : 'hosts in containers'}`;
  if (why === undefined) {
    if (!o.simulate && o.hosts > before.hosts)
      throw new Error(`${before.hosts} hosts run already. For ${o.hosts}: npm run quickstart -- --down, then again`);
    return before;
  }
  print(` … what an earlier quickstart left ${why}: it is removed first`);
  await remove();
  return undefined;
}

/** Why it can't be used any more. Hosts that are only switched off can. */
async function loss(before: QuickstartState, print: (line: string) => void): Promise<string | undefined> {
  if (before.simulate) return undefined;
  const hosts = (await labOf())?.hosts ?? [];
  if (hosts.length < before.hosts) return `lost ${before.hosts - hosts.length} of its ${before.hosts} hosts`;
  const off = (await Promise.all(hosts.map((h) => h.running()))).filter((up) => !up).length;
  if (off > 0)
    print(
      ` … ${off} of the ${hosts.length} hosts are off, as after a restart of the machine: they are switched on again`,
    );
  return undefined;
}

function remember(endpoint: Endpoint): void {
  const previousContext = rememberContext(endpoint);
  const state = loadState();
  if (state && previousContext !== undefined) saveState({ ...state, previousContext });
}

/** Ends and removes everything that quickstart made: processes, containers, networks, files, the context. */
export async function down(print: (line: string) => void): Promise<void> {
  let found = { hosts: 0, controllers: 0 };
  await alone(async () => {
    found = await remove();
  });
  const { hosts, controllers } = found;
  print(
    hosts + controllers === 0
      ? 'nothing was running'
      : `${controllers > 0 ? 'controller and ' : ''}${hosts} ${hosts === 1 ? 'host' : 'hosts'} removed; nothing is left`,
  );
}

async function remove(): Promise<{ hosts: number; controllers: number }> {
  const state = loadState();
  const hosts = await stopHosts(state);
  const controllers = await stopController();
  forgetContext(state?.previousContext);
  removeState();
  return { hosts, controllers };
}
