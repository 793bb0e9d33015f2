/** Many small clusters, each with its own misfortune. A failure names its seed: SIM_SEED=n runs that one alone. */
import { expect, it, vi } from 'vitest';
import { simConfig } from './config.ts';
import { always, atRest } from './invariants.ts';
import { actOnce, mend } from './operators.ts';
import { reseed } from './seeded-random.ts';
import { SimCluster } from './sim-cluster.ts';

vi.mock('@berth/shared/runtime/random.ts', () => import('./seeded-random.ts'));

const SEEDS = 150;
const ACTS = 120;
const { seeds } = simConfig(SEEDS);
/** What is open when all is well again has so long to end. */
const REST_MS = 30 * 60_000;

async function stepTo(sim: SimCluster, untilMs: number): Promise<void> {
  while (await sim.clock.step(untilMs)) check(sim);
  if (!sim.life) await sim.boot(crashAfter(sim));
  check(sim);
}

const crashAfter = (sim: SimCluster): number => (sim.random() < 0.6 ? Math.floor(sim.random() * 120) : Infinity);

function check(sim: SimCluster): void {
  if (sim.faults.length > 0) throw sim.faults[0];
  if (sim.life) expect(always(sim.life.state.tables), `seed ${sim.seed}`).toEqual([]);
}

async function run(seed: number): Promise<SimCluster> {
  reseed(seed);
  const sim = new SimCluster(seed);
  await sim.boot(100 + crashAfter(sim));
  await sim.addHosts(['h1', 'h2', 'h3']);
  for (let i = 0; i < ACTS; i++) {
    actOnce(sim);
    await stepTo(sim, sim.clock.now() + sim.random() * 4_000);
  }
  await calm(sim);
  return sim;
}

async function calm(sim: SimCluster): Promise<void> {
  if (!sim.life) await sim.boot(Infinity);
  mend(sim);
  const untilMs = sim.clock.now() + REST_MS;
  while (sim.clock.now() < untilMs) {
    await stepTo(sim, sim.clock.now() + 5_000);
    if (sim.life && sim.life.state.tables.jobs.open().length + sim.life.state.tables.debts.size === 0) break;
  }
  const { life } = sim;
  expect(life && atRest(life.state.tables, sim.hosts), `seed ${sim.seed}`).toEqual([]);
}

it('a cluster comes to rest with nothing lost, left or promised twice, whatever happens to it', async () => {
  for (const seed of seeds) await run(seed);
}, 3_600_000);
