/** Secrets on real hosts: in no command line of anything that the agent starts, in no log, in no file that others can read. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AGENT_LOG } from '@berth/deploy/lab/host.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { noisyDisk } from '../harness/disk-files.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { privateKeysIn, Secrets, watchCommandLines } from '../harness/secrets.ts';

const MARKER = 'mArKeR-53cr3t-data';
/** As tickets are: 32 random bytes. What else is so long is known, or in hex. */
const TICKET = /(?<![\w+/-])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{43}(?![\w+/=-])/g;

describeLab('secrets on real hosts', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  const secrets = new Secrets();
  const commandLines = watchCommandLines();
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    for (const h of lab().hosts) {
      await c.addLabHost(h);
      await h.stopAgent();
      await h.writeFile('/etc/berth/agent.yaml', 'domainType: qemu\nlogLevel: trace\n');
      await h.startAgent();
    }
    await c.waitUp('h1', 'h2');
  }, 180_000);
  afterAll(async () => {
    await commandLines.end();
    await c?.stop();
  });

  it('are nowhere but in files that root alone can read', async () => {
    const file = join(c.dir, 'user-data');
    writeFileSync(file, `#cloud-config\npassword: ${MARKER}\n`);
    secrets.add('user data', MARKER);
    writeFileSync(join(c.dir, 'large.img'), noisyDisk(48 * 2 ** 20));
    await c.ok('image', 'import', join(c.dir, 'large.img'), '--host', 'h1');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
    await c.ok('vm', 'clone', 'large', 'copy', '--host', 'h2', '--memory', '96MiB', '--user-data', file);
    await c.ok('vm', 'clone', 'base', 'web', '--host', 'h2', '--memory', '128MiB', '--user-data', file, '--start');
    await c.serial('web', /^berth-guest: web /m);
    expect((await c.berthWith({ input: '\u001d' }, 'vm', 'console', 'web')).code).toBe(0);

    // those of the containers are this machine's too; our own search, below, is not among them
    const said = await commandLines.end();
    for (const h of lab().hosts) {
      const identity = await h.readFile('/var/lib/berth/identity/credentials.json');
      for (const key of privateKeysIn(identity)) secrets.add(`a key of ${h.name}`, key);
      const log = await h.readFile(AGENT_LOG);
      expect(log).toMatch(/"level":20/);
      secrets.said(`log of ${h.name}`, log);
      expect([h.name, log.match(TICKET)]).toEqual([h.name, null]);
      const open = await h.run([
        'sh',
        '-c',
        `cd /var/lib/berth && find . -type f -perm /077 -exec grep -lE '${MARKER}|PRIVATE KEY' {} +; true`,
      ]);
      expect([h.name, open]).toEqual([h.name, '']);
      const writable = await h.run(['find', '/var/lib/berth', '-perm', '/022', '!', '-type', 'l', '!', '-type', 's']);
      expect([h.name, writable]).toEqual([h.name, '']);
      const closed = await h.run(['stat', '-c', '%a', '/var/lib/berth/identity', '/var/lib/berth/operations']);
      expect(closed.trim().split('\n')).toEqual(['700', '700']);
    }
    expect(said).toMatch(/qemu-system-x86_64.*guest=web/);
    expect(said).toMatch(/qemu-(nbd|storage-daemon|img)/);
    secrets.said('command lines', said);
    const ours = said.split('\n').filter((l) => /\/opt\/berth|qemu|berth-/.test(l));
    expect(ours.flatMap((l) => l.match(TICKET) ?? [])).toEqual([]);
    expect(secrets.kinds()).toBeGreaterThan(4);
    expect(secrets.found()).toEqual([]);
  });
});
