/** A controller one version newer or older: what it adds to its calls is left out, and breaks nothing. */
import type { Client, MethodDefinition, ServiceError } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AdoptionServiceService } from '@berth/proto/agent/v1/adopt.ts';
import { DomainServiceService } from '@berth/proto/agent/v1/domain.ts';
import { OperationState } from '@berth/proto/agent/v1/operation.ts';
import { VolumeServiceService } from '@berth/proto/agent/v1/volume.ts';
import { WatchServiceService, type WatchMessage } from '@berth/proto/agent/v1/watch.ts';
import { eventually } from '@berth/test/harness/processes.ts';
import { AgentWorld, context, fence } from './testing/world.ts';

/** Field 900: a number, and text. */
const UNKNOWN = Buffer.from([0xa0, 0x38, 0x2a, 0xa2, 0x38, 0x03, 0x66, 0x6f, 0x6f]);
let w: AgentWorld;
beforeEach(async () => {
  w = await AgentWorld.start();
});
afterEach(() => w.end());

type Method<Q, A> = Pick<MethodDefinition<Q, A>, 'path' | 'requestSerialize' | 'responseDeserialize'>;

/** The call as a newer controller makes it. */
const newer = <Q, A>(client: Client, m: Method<Q, A>, request: Q): Promise<A> =>
  new Promise((resolve, reject) => {
    const serialize = (v: Q): Buffer => Buffer.concat([m.requestSerialize(v), UNKNOWN]);
    client.makeUnaryRequest(m.path, serialize, m.responseDeserialize, request, (e: ServiceError | null, a?: A) =>
      e ? reject(e) : resolve(a as A),
    );
  });

const spec = {
  vmId: 'vm-1',
  uuid: '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10',
  name: 'web',
  vcpus: 1,
  memoryBytes: BigInt(64 * 2 ** 20),
  disks: [{ target: 'vda', volumeId: 'volume-1' }],
  nics: [{ mac: '52:54:00:00:00:01', bridge: 'br0', model: '' }],
  seedVolumeId: '',
  cdroms: [],
  generation: 1n,
};

it('calls with fields that this agent does not know are the same calls', async () => {
  const { volume, domain } = w.clients;
  const wanted = {
    context: context('job-1.vda'),
    volumeId: 'volume-1',
    vmId: 'vm-1',
    imageDigest: '',
    sizeBytes: BigInt(2 ** 30),
  };
  const first = await newer(volume, VolumeServiceService.ensureVolume, wanted);
  expect(first.state).toBe(OperationState.SUCCEEDED);
  // the same operation, asked for again by the version of before: its inputs are the same
  const again = await new Promise((resolve, reject) =>
    volume.ensureVolume(wanted, (e, a) => (e ? reject(e) : resolve(a))),
  );
  expect(again).toEqual(first);
  const made = await newer(domain, DomainServiceService.ensureDomain, { context: context('job-1.define'), spec });
  expect(made.state).toBe(OperationState.SUCCEEDED);
  const ref = { uuid: spec.uuid, vmId: 'vm-1' };
  const described = await newer(domain, AdoptionServiceService.describeDomain, ref);
  expect(described).toMatchObject({ changes: [], spec: { name: 'web', disks: spec.disks } });
});

it('a watch with such fields is a watch', async () => {
  const seen: WatchMessage[] = [];
  const m = WatchServiceService.watch;
  const stream = w.clients.watch.makeServerStreamRequest(
    m.path,
    (v: Parameters<typeof m.requestSerialize>[0]) => Buffer.concat([m.requestSerialize(v), UNKNOWN]),
    m.responseDeserialize,
    { fence: fence(), statisticsIntervalMs: 0n },
  );
  stream.on('data', (x: WatchMessage) => seen.push(x)).on('error', () => undefined);
  await eventually('a whole snapshot', async () => seen.some((x) => x.message?.$case === 'end'));
  stream.cancel();
});
