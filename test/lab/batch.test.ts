/** Clones from a table on real hosts: guests say the names and addresses of their rows; one row fails, and the same command finishes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';

/** Emulated, and beside others: a kernel whose clock comes late panics, and boots again. */
const BOOT_MS = 240_000;

/** In the way of a row: a domain of its name that somebody made by hand. */
const STRANGER = `<domain type='qemu'><name>web-4</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>`;

describeLab('clones from a table', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  let table: string;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()));
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    await c.waitUp('h1', 'h2');
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await lab().host('h2').writeFile('/root/web-4.xml', STRANGER);
    await lab().host('h2').virsh(['define', '/root/web-4.xml']);
    table = join(c.dir, 'hosts.csv');
    const rows = [
      'web-1,h1,10.77.0.21/24,5901',
      'web-2,h2,10.77.0.22/24,',
      'web-3,h1,10.77.0.23/24,',
      'web-4,h2,10.77.0.24/24,',
    ];
    writeFileSync(table, ['name,host,ip,vnc-port', ...rows, ''].join('\n'));
  }, 180_000);
  afterAll(() => c?.stop());

  const clone = () => c.berth('vm', 'clone', 'base', '--from', table, '--memory', '128MiB', '--start');

  it('makes and starts those that can be made, and says which can not', async () => {
    const { out, err, code } = await clone();
    expect([code, err]).toEqual([1, expect.stringMatching(/^3 of 4 done in .* Finish the rest with the same command/)]);
    for (const n of [1, 2, 3])
      expect(out).toMatch(new RegExp(`^vm web-${n} created on h[12], started +\\[ {2}OK {2}\\]$`, 'm'));
    expect(out).toMatch(/^vm web-4 +\[FAILED\] .*web-4/m);
    for (const n of [1, 2, 3])
      await c.serial(`web-${n}`, new RegExp(`^berth-guest: web-${n} 10\\.77\\.0\\.2${n} `, 'm'), BOOT_MS);
    expect(await lab().host('h1').virsh(['domdisplay', 'web-1'])).toBe('vnc://127.0.0.1:1');
    const owned = (await lab().host('h2').run(['ls', '/var/lib/berth/volumes'])).match(/^volume-\S+\.json$/gm);
    expect(owned).toHaveLength(2); // of web-2 alone: its disk and its seed
  }, 300_000);

  it('finishes with the same command, and leaves the others running as they are', async () => {
    await lab().host('h2').virsh(['undefine', 'web-4']);
    const before = await lab().host('h1').pids('guest=web-1,');
    const { out, err, code } = await clone();
    expect([code, err]).toEqual([0, expect.stringMatching(/^4 of 4 done/)]);
    expect(out).toMatch(/^vm web-1 is on h1 already, runs +\[ {2}OK {2}\]$/m);
    expect(out).toMatch(/^vm web-4 created on h2, started +\[ {2}OK {2}\]$/m);
    await c.serial('web-4', /^berth-guest: web-4 10\.77\.0\.24 /m, BOOT_MS);
    expect(await lab().host('h1').pids('guest=web-1,')).toEqual(before);
  }, 300_000);
});
