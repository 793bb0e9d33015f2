/**
 * The quickstart: a controller, some hosts, an image, two VMs that run, shown from the outside as a user would do it. Each
 * phase makes sure of something, so that a second run only finds what is there. The set-up of the machine is setup.js's.
 */
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { phaseLine } from '../setup/phases.js';
import { ensureController, stopController } from './controller.ts';
import { ensureContainers, ensureHosts, labOf, stopHosts } from './hosts.ts';
import { loadState, removeState, saveState, type QuickstartState } from './state.ts';
import { forgetContext, rememberContext } from './user-context.ts';
import { guestLines, ensureImage, ensureVms, inventory } from './workload.ts';

export interface QuickstartOptions {
  readonly hosts: number;
  readonly simulate: boolean;
  readonly guestImage: string | undefined;
  readonly print: (line: string) => void;
}

const VMS = ['web', 'db'];

export async function quickstart(o: QuickstartOptions): Promise<void> {
  const { print } = o;
  const before = loadState();
  if (before && (before.simulate !== o.simulate || (await broken(before)))) {
    print(' … what an earlier quickstart left is removed first');
    await down(() => {});
  }
  const state: QuickstartState = loadState() ?? { simulate: o.simulate, controllerPid: undefined, agentPids: [] };
  saveState(state);
  const phase = async <T>(title: string, work: () => Promise<readonly [string, T]>): Promise<T> => {
    const startedMs = systemClock.monotonic();
    const [detail, value] = await work();
    print(phaseLine({ title, state: 'done', detail, ms: Math.max(1, systemClock.monotonic() - startedMs) }));
    return value;
  };

  const names = Array.from({ length: o.hosts }, (_, i) => `h${i + 1}`);
  const address = o.simulate
    ? '127.0.0.1'
    : await phase('containers', async () => [
        `${names.length}, each with its own libvirt`,
        await ensureContainers(names),
      ]);
  const controller = await phase('controller', async () => {
    const c = await ensureController(state, address);
    rememberContext(c.endpoint);
    return [c.address, c];
  });
  const { api } = controller;
  try {
    await phase(`hosts ${names.length > 4 ? `h1 … h${names.length}` : names.join(' ')}`, async () => [
      await ensureHosts(api, state, names),
      undefined,
    ]);
    await phase('image base', async () => [await ensureImage(api, o.guestImage), undefined]);
    await ensureVms(api, VMS, (name, work) => phase(`vm ${name}`, work));
    print((await guestLines(api, VMS)).join('     '));
    print('');
    (await inventory(api)).forEach(print);
    print('');
    print('Try:  npx berth vm list             npx berth vm console web        npx berth host list');
    print('      npx berth vm clone base app   npx berth vm start app          npx berth event list');
    print('Stop: npm run quickstart -- --down');
  } finally {
    api.close();
  }
}

/** Whether what was there has been lost half: a machine that was restarted, containers that were removed by hand. */
async function broken(state: QuickstartState): Promise<boolean> {
  return !state.simulate && state.controllerPid !== undefined && (await labOf()) === undefined;
}

/** Ends and removes everything that quickstart made: processes, containers, networks, files, the context. */
export async function down(print: (line: string) => void): Promise<void> {
  const state = loadState();
  const hosts = await stopHosts(state);
  const controller = await stopController(state);
  forgetContext();
  removeState();
  print(
    hosts + controller === 0
      ? 'nothing was running'
      : `${controller ? 'controller and ' : ''}${hosts} hosts removed; nothing is left`,
  );
}
