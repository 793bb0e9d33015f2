/** Copies of disks beside those of other programs, and of an agent that was killed. */
import { beforeEach, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { BackupVerbs, backupXml, type BackupVerbOptions } from './backup-verbs.ts';
import { fromRemote } from './errors.ts';

const UUID = '11111111-2222-4333-8444-555555555555';
const target = (path: string) => [{ target: 'vda', path }];
const OWN = target('/var/lib/berth/staging/capture-new/disk');
const [NONE, UNBOUNDED, COMPLETED] = [0, 2, 3];

/** What runs now: the XML of a backup. */
let running: string | undefined;
let asked: string[];
const noBackup = () =>
  fromRemote(
    {
      ...{ code: 104, domain: 10, message: 'no domain backup job present', level: 2, int1: 0, int2: 0 },
      ...{ dom: undefined, str1: undefined, str2: undefined, str3: undefined, net: undefined },
    } as never,
    'x',
  );
const call = async (p: { name: string }, args: { flags?: number; backupXml?: string }): Promise<unknown> => {
  asked.push(p.name);
  switch (p.name) {
    case 'DOMAIN_GET_JOB_STATS':
      if (args.flags === 1) return { type: COMPLETED, params: [] };
      return { type: running === undefined ? NONE : UNBOUNDED, params: [] };
    case 'DOMAIN_BACKUP_GET_XML_DESC':
      if (running === undefined) throw noBackup();
      return { xml: running };
    case 'DOMAIN_BACKUP_BEGIN':
      running = args.backupXml;
      return {};
    default:
      running = undefined; // it is ended
      return {};
  }
};
const pool = { call };
const options = { quick: pool, start: pool, guest: pool, cache: { find: () => ({ name: 'web' }) }, clock: systemClock };
const verbs = new BackupVerbs({ ...options, log: createLog('test', 'silent') } as unknown as BackupVerbOptions);
const work = { signal: new AbortController().signal, onProgress: () => undefined };
const done = async (): Promise<void> => void (running = undefined);

beforeEach(() => {
  [running, asked] = [undefined, []];
});

it.each([
  ['into files of its own', backupXml(target('/backup/web/disk'))],
  [
    'over a socket',
    `<domainbackup mode='pull'><server transport='tcp'/><disks><disk name='vda' backup='yes'/></disks></domainbackup>`,
  ],
])('the copy of another program, %s, goes on, and ours says so', async (_how, xml) => {
  running = xml;
  await expect(verbs.backup(UUID, OWN, work, done)).rejects.toMatchObject({
    reason: 'RESOURCE_BUSY',
    message: expect.stringContaining('by somebody else') as string,
  });
  expect(running).toBe(xml);
  expect(asked).not.toContain('DOMAIN_ABORT_JOB');
});

it('what an agent that was killed has left is ended', async () => {
  running = backupXml(target('/var/lib/berth/staging/capture-old/disk'));
  await verbs.backup(UUID, OWN, work, done);
  expect(asked).toContain('DOMAIN_ABORT_JOB');
  expect(asked.indexOf('DOMAIN_ABORT_JOB')).toBeLessThan(asked.indexOf('DOMAIN_BACKUP_BEGIN'));
});

it('one that cannot be followed is ended, and left to nobody', async () => {
  const failing = async (): Promise<void> => {
    throw new Error('the guest could not be thawed');
  };
  await expect(verbs.backup(UUID, OWN, work, failing)).rejects.toThrow('could not be thawed');
  expect(running).toBeUndefined();
});
