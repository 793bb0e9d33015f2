/** Alarms with real processes: a host that freezes is told of once, also over a kill of the controller, and forgotten when it thaws. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { eventually } from '../harness/processes.ts';

interface Listed {
  readonly kind: string;
  readonly subject: string;
}

describe('alarms', () => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start();
    await c.addSimulated('h1');
    await c.waitUp('h1');
  }, 120_000);
  afterAll(() => c?.stop());
  const kinds = async () =>
    (await c.json<Listed[]>('alarm', 'list')).filter((a) => a.subject === 'h1').map((a) => a.kind);

  it('an agent that freezes is raised once, also when the controller is killed meanwhile, and cleared when it thaws', async () => {
    c.agents.get('h1')?.signal('SIGSTOP');
    try {
      await eventually('the alarm stands', async () => (await kinds()).includes('host-unreachable'), 120_000);
      expect(await c.ok('host', 'show', 'h1')).toMatch(/^alarms:\n {2}critical for .*host h1 is unreachable/m);
      await c.controller.restart('SIGKILL');
      await eventually('the host is known again', async () => (await c.hostState('h1')) === 'unreachable', 120_000);
      expect(await kinds()).toEqual(['host-unreachable']);
    } finally {
      c.agents.get('h1')?.signal('SIGCONT');
    }
    await eventually('the alarm is cleared', async () => (await kinds()).length === 0, 120_000);
    const told = (await c.json<{ type: string; subject: string }[]>('event', 'list'))
      .filter((e) => e.subject === 'h1' && e.type.startsWith('alarm.'))
      .map((e) => e.type);
    expect(told).toEqual(['alarm.raised', 'alarm.cleared']);
  }, 300_000);
});
