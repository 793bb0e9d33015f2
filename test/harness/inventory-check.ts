/**
 * What the controller believes against what its hosts have, when all is quiet: read from its database, which it must have
 * let go of, and from the agents themselves. Each difference is a sentence.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { call, clientsFor } from '@berth/agent/testing/world.ts';
import { openState } from '@berth/controller/state/open-state.ts';
import type { Tables } from '@berth/controller/state/state.ts';
import { loadIdentity } from '@berth/controller/trust/identity.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { lockedByNobody } from '../sim/invariants.ts';
import type { Cluster } from './cluster.ts';
import { sqliteWorkerFile } from './sqlite-worker.ts';

const quiet = { error: () => undefined, fatal: () => undefined };

/** Stops the controller. */
export async function differences(cluster: Cluster): Promise<readonly string[]> {
  await cluster.controller.end('SIGTERM');
  const identity = await loadIdentity(cluster.dataDir, systemClock.now());
  const state = await openState({
    path: join(cluster.dataDir, 'berth.db'),
    clock: systemClock,
    log: quiet,
    onFatal: (e) => {
      throw e;
    },
    workerFile: await sqliteWorkerFile(),
  });
  try {
    const { tables } = state;
    const who = { certPem: identity.chainPem, keyPem: identity.keyPem, caPem: identity.caPem };
    const onHosts = await Promise.all([...tables.hosts.values()].map((h) => hostDifferences(tables, h, who)));
    return [...own(tables), ...lockedByNobody(tables), ...onHosts.flat()];
  } finally {
    await state.close();
  }
}

function own(tables: Tables): string[] {
  const out: string[] = [];
  for (const job of tables.jobs.open()) out.push(`job ${job.kind} ${job.subject} is ${job.state}: ${job.waitReason}`);
  for (const debt of tables.debts.values()) out.push(`debt ${debt.kind} ${debt.target} is not paid`);
  for (const claim of tables.claims.values())
    if (tables.vms.get(claim.vmId)?.hostId !== claim.hostId) out.push(`claim of nobody: ${claim.vmId}`);
  for (const vm of tables.vms.values()) if (!tables.claims.get(vm.id)) out.push(`vm ${vm.name} has no claim`);
  return out;
}

async function hostDifferences(
  tables: Tables,
  host: Host,
  who: { certPem: string; keyPem: string; caPem: string },
): Promise<string[]> {
  const clients = clientsFor(Number(host.address.split(':')[1]), who);
  try {
    const [{ volumes }, { images }, { domains }] = [
      await call(clients.volume, clients.volume.listVolumes, {}),
      await call(clients.image, clients.image.listImages, {}),
      await call(clients.domain, clients.domain.listDomains, {}),
    ];
    const vms = tables.vms.byHost(host.id);
    const disks = vms.flatMap((vm) => [...vm.spec.disks.map((d) => d.volumeId), vm.spec.seedVolumeId ?? []].flat());
    const copies = tables.imageCopies.byHost(host.id).map((c) => tables.images.get(c.imageId)?.digest ?? '?');
    const differ = (what: string, has: readonly string[], wanted: readonly string[]): string[] => [
      ...has.filter((x) => !wanted.includes(x)).map((x) => `orphan ${what} ${x} on ${host.name}`),
      ...wanted.filter((x) => !has.includes(x)).map((x) => `${host.name} has lost ${what} ${x}`),
    ];
    return [
      ...differ(
        'volume',
        volumes.map((v) => v.volumeId),
        disks,
      ),
      ...differ(
        'image',
        images.map((i) => i.digest),
        copies,
      ),
      ...differ(
        'domain',
        domains.map((d) => d.uuid),
        vms.map((vm) => vm.uuid),
      ),
    ];
  } finally {
    clients.close();
  }
}

/** Operations that an agent still keeps, by what its journal on disk says. */
export function keptOperations(cluster: Cluster, host: string): readonly string[] {
  const kept = new Set<string>();
  const file = join(cluster.dir, host, 'operations', 'ledger.jsonl');
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  for (const line of text.split('\n').filter((l) => l !== '')) {
    const r = JSON.parse(line.slice(line.indexOf('{'))) as {
      t: string;
      op?: { id: string };
      id?: string;
      prefixes?: string[];
    };
    if (r.op) kept.add(r.op.id);
    if (r.t === 'drop' && r.id !== undefined) kept.delete(r.id);
    for (const id of [...kept]) if (r.prefixes?.some((p) => id.startsWith(p))) kept.delete(id);
  }
  return [...kept];
}
