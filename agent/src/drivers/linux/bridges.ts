/** Bridges of this host, through `ip`. bridge-plan.ts decides; this reads and runs. Knows nothing of VMs. */
import type { Bridge } from '@berth/shared/model/host.ts';
import type { Bridges } from '../machine.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { isUnfinished, parseLinks, planEnsure, planRemove, type IpCommand, type LinkSeen } from './bridge-plan.ts';
import type { Exec } from './exec.ts';
import { linkPrint } from './link-print.ts';
import { takenByAddresses, takenByRoutes } from './taken.ts';

export interface BridgesOptions {
  readonly exec: Pick<Exec, 'run'>;
  /** Network namespace to work in; default the agent's own. */
  readonly netns?: string;
  /** With it a list is answered without `ip` while nothing has changed. */
  readonly unchanged?: { readonly clock: Pick<Clock, 'monotonic'>; readonly print?: () => string };
}

/** What the print does not see is seen after this. */
const LOOK_AGAIN_MS = 600_000;

/** One makes it, one mends what the kernel took away with an address, one sees that it is so. */
const MAX_ROUNDS = 4;

export function createBridges({ exec, netns, unchanged }: BridgesOptions): Bridges {
  const prefix = netns === undefined ? [] : ['-n', netns];
  /** Changes go one after the other: a plan must not be made on what another is about to change. */
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (change: () => Promise<void>): Promise<void> => {
    const mine = last.then(change).finally(() => forget());
    last = mine.catch(() => undefined);
    return mine;
  };
  const ip = async (args: IpCommand): Promise<string> =>
    (await exec.run('ip', [...prefix, ...args], { what: 'ip', maxOutputBytes: 16 << 20 })).stdout;
  const observe = async (): Promise<LinkSeen[]> =>
    parseLinks(await ip(['-d', '-j', 'link', 'show']), await ip(['-j', 'address', 'show']));
  const apply = async (commands: readonly IpCommand[]): Promise<void> => {
    for (const args of commands) await ip(args);
  };
  const { list, forget } = lister(async () => bridgesOf(await observe()), unchanged);
  return {
    list,
    ensure: (name, addresses) =>
      inTurn(async () => {
        for (let round = 0; round < MAX_ROUNDS; round++) {
          const commands = planEnsure(await observe(), name, addresses);
          if (commands.length === 0) return;
          await apply(commands);
        }
      }),
    remove: (name) => inTurn(async () => apply(planRemove(await observe(), name))),
    links: async () => (await observe()).map((l) => l.name),
    taken: async () => {
      const routes = ['-4', '-6'].map((family) => ip([family, '-j', 'route', 'show', 'table', 'all']));
      return [...takenByAddresses(await observe()), ...(await Promise.all(routes)).flatMap(takenByRoutes)];
    },
  };
}

/** Who asks while another is answered gets the same, unless something has changed since that began. */
function lister(
  look: () => Promise<readonly Bridge[]>,
  unchanged: BridgesOptions['unchanged'],
): { readonly list: () => Promise<readonly Bridge[]>; readonly forget: () => void } {
  if (unchanged === undefined) return { list: look, forget: () => undefined };
  const { clock, print = linkPrint } = unchanged;
  let known:
    { readonly print: string; readonly atMs: number; readonly bridges: Promise<readonly Bridge[]> } | undefined;
  const forget = (): void => void (known = undefined);
  const list = (): Promise<readonly Bridge[]> => {
    const now = { print: print(), atMs: clock.monotonic() };
    if (known !== undefined && known.print === now.print && now.atMs - known.atMs < LOOK_AGAIN_MS) return known.bridges;
    const mine = (known = { ...now, bridges: look() });
    mine.bridges.catch(() => {
      if (known === mine) forget();
    });
    return mine.bridges;
  };
  return { list, forget };
}

const bridgesOf = (links: readonly LinkSeen[]): Bridge[] =>
  links
    .filter((l) => l.bridge && !isUnfinished(l.name))
    .map(({ name, up, addresses, owned }) => ({
      name,
      up,
      addresses,
      owned,
      ports: links.filter((l) => l.master === name).map((l) => l.name),
    }));
