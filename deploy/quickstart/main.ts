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
import { ensureContainers, ensureHosts, labOf, simulatedRuns, stopHosts } from './hosts.ts';
import { alone } from './lock.ts';
import { loadState, placeOf, removeState, saveState, type Place, type QuickstartState } from './state.ts';
import { forgetContext, rememberContext } from './user-context.ts';
import { ensureImage, ensureVms, guestLines, imageLine, inventory, type Phase } from './workload.ts';

export interface QuickstartOptions {
  /** Tells it from others on this machine; undefined is the usual one. */
  readonly name: string | undefined;
  readonly hosts: number;
  readonly simulate: boolean;
  readonly guestImage: string | undefined;
}

const VMS = ['web', 'db'];

export function quickstart(o: QuickstartOptions): Promise<void> {
  const place = placeOf(o.name);
  return alone(place, () => run(place, o));
}

async function run(place: Place, o: QuickstartOptions): Promise<void> {
  const live = createLive({ stdout: process.stdout, stderr: process.stderr, clock: systemClock });
  const print = (line: string) => live.final(line);
  const phase = phases(live);
  try {
    const before = await mend(place, o, print);
    saveState(place, {
      previousContext: before?.previousContext,
      simulate: o.simulate,
      hosts: Math.max(o.hosts, before?.hosts ?? 0),
    });
    const names = Array.from({ length: o.hosts }, (_, i) => `h${i + 1}`);
    const address = o.simulate
      ? '127.0.0.1'
      : await phase('containers', async () => {
          const gateway = await ensureContainers(place, names);
          return { detail: `${names.length}, each with its own libvirt`, value: gateway };
        });
    const { api, endpoint } = await phase('controller', async () => {
      const c = await ensureController(place, address);
      return { detail: c.address, value: c };
    });
    remember(place, endpoint);
    try {
      const all = names.length > 4 ? `h1 … h${names.length}` : names.join(' ');
      await phase(`hosts ${all}`, async () => ({
        detail: await ensureHosts(place, api, o.simulate, names),
        value: undefined,
      }));
      const said = await work(place, api, o.guestImage, phase);
      ['', ...said, '', ...(await inventory(api)), '', ...next(place)].forEach(print);
    } finally {
      api.close();
    }
  } finally {
    live.end();
  }
}

/** Answers what the guests say. */
async function work(place: Place, api: Api, guestImage: string | undefined, phase: Phase): Promise<readonly string[]> {
  const copies = await phase('image base', async () => {
    const image = await ensureImage(place, api, guestImage);
    return { detail: imageLine(image), value: image.copies.map((c) => c.host) };
  });
  const before = await ensureVms(api, VMS, copies, phase);
  return phase('guests', async () => ({
    detail: 'booted, as their consoles say',
    value: await guestLines(api, VMS, before),
  }));
}

const next = ({ flags }: Place): readonly string[] => [
  'Try:  npx berth vm list             npx berth vm console web        npx berth host list',
  '      npx berth vm clone base app   npx berth vm start app          npx berth event list',
  `Stop: npm run quickstart -- --down${flags}`,
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
async function mend(
  place: Place,
  o: QuickstartOptions,
  print: (line: string) => void,
): Promise<QuickstartState | undefined> {
  const before = loadState(place);
  if (!before) return undefined;
  const why =
    before.simulate === o.simulate
      ? await loss(place, before, print)
      : `has ${before.simulate ? 'simulated hosts' : 'hosts in containers'}`;
  if (why === undefined) {
    if (!o.simulate && o.hosts > before.hosts)
      throw new Error(
        `${before.hosts} hosts run already. For ${o.hosts}: npm run quickstart -- --down${place.flags}, then again`,
      );
    return before;
  }
  print(` … what an earlier quickstart left ${why}: it is removed first`);
  await remove(place);
  return undefined;
}

/** Why it can't be used any more. Hosts that are only switched off can. */
async function loss(place: Place, before: QuickstartState, print: (line: string) => void): Promise<string | undefined> {
  if (before.simulate) {
    const ended = Array.from({ length: before.hosts }, (_, i) => `h${i + 1}`).filter((n) => !simulatedRuns(place, n));
    return ended.length > 0 ? `lost ${ended.join(', ')}: a simulated host lives in its process alone` : undefined;
  }
  const hosts = (await labOf(place))?.hosts ?? [];
  if (hosts.length < before.hosts) return `lost ${before.hosts - hosts.length} of its ${before.hosts} hosts`;
  const off = (await Promise.all(hosts.map((h) => h.running()))).filter((up) => !up).length;
  if (off > 0)
    print(
      ` … ${off} of the ${hosts.length} hosts are off, as after a restart of the machine: they are switched on again`,
    );
  return undefined;
}

function remember(place: Place, endpoint: Endpoint): void {
  const previousContext = rememberContext(place.context, endpoint);
  const state = loadState(place);
  if (state && previousContext !== undefined) saveState(place, { ...state, previousContext });
}

/** Ends and removes everything that quickstart made: processes, containers, networks, files, the context. */
export async function down(name: string | undefined, print: (line: string) => void): Promise<void> {
  const place = placeOf(name);
  let found = { hosts: 0, controllers: 0 };
  await alone(place, async () => {
    found = await remove(place);
  });
  const { hosts, controllers } = found;
  print(
    hosts + controllers === 0
      ? 'nothing was running'
      : `${controllers > 0 ? 'controller and ' : ''}${hosts} ${hosts === 1 ? 'host' : 'hosts'} removed; nothing is left`,
  );
}

async function remove(place: Place): Promise<{ hosts: number; controllers: number }> {
  const state = loadState(place);
  const hosts = await stopHosts(place, state);
  const controllers = await stopController(place);
  forgetContext(place.context, state?.previousContext);
  removeState(place);
  return { hosts, controllers };
}
