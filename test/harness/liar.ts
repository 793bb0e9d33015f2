/**
 * A host that belongs to somebody else: enrolled as any host is, then somebody else's program takes its key and answers at its
 * address whatever the test tells it to.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostReport } from '@berth/proto/agent/v1/host.ts';
import { FakeAgent, GIB, type FakeAgentTls } from '@berth/controller/hosts/fake-agent.ts';
import { freePort, type Cluster } from './cluster.ts';
import { PROGRAMS, run } from './processes.ts';

/** Of `identity/credentials.json`, as the agent keeps it: what its successor at the host's address needs. */
interface Credentials {
  readonly hostId: string;
  readonly control: { readonly keyPem: string; readonly certPem: string };
  readonly trust: { readonly control: readonly string[] };
}

const SIZE = BigInt(64 * GIB);

/** A report that any host could make. */
export const SANE = HostReport.fromPartial({
  ...{ cpuThreads: 8, memoryBytes: SIZE, diskBytes: SIZE, diskFreeBytes: SIZE },
  ...{ domainType: 'qemu', bootId: 'boot-1', peerAddress: '127.0.0.1:1', capabilities: ['image.fetch'] },
});

/** @param prepare what it is to be like, before anybody has seen it. */
export async function addLiar(
  c: Cluster,
  name = 'liar',
  prepare?: (agent: FakeAgent) => void,
): Promise<{ liar: FakeAgent; tls: FakeAgentTls }> {
  const dir = join(c.dir, name);
  mkdirSync(dir);
  const port = await freePort('127.0.0.1');
  writeFileSync(join(dir, 'agent.yaml'), `dataDir: ${dir}\n`);
  const input = await c.joinToken(name, `127.0.0.1:${port}`);
  const enrolled = await run(PROGRAMS.agent, ['enroll', '--config', join(dir, 'agent.yaml')], { input });
  if (enrolled.code !== 0) throw new Error(enrolled.err);
  const identity = JSON.parse(readFileSync(join(dir, 'identity/credentials.json'), 'utf8')) as Credentials;
  const { keyPem, certPem } = identity.control;
  const tls = { caPem: identity.trust.control.join('\n'), certificatePem: certPem, keyPem };
  const liar = new FakeAgent(identity.hostId, tls);
  liar.port = port;
  prepare?.(liar);
  await liar.start();
  return { liar, tls };
}
