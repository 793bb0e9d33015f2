import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTable } from './clone-table.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-table-'));
  writeFileSync(join(folder, 'me.pub'), 'ssh-ed25519 AAAAfile me\n');
  writeFileSync(join(folder, 'web.yaml'), '#cloud-config\nhostname: web\n');
});
afterAll(() => rmSync(folder, { recursive: true }));

const read = (text: string) => readTable(text, join(folder, 'hosts.csv')).rows;
const faults = (text: string): string[] => {
  try {
    read(text);
  } catch (e) {
    return (e as Error).message.replaceAll(join(folder, 'hosts.csv'), 'hosts.csv').replaceAll(folder, '.').split('\n');
  }
  return ['no fault'];
};

describe('a table of VMs', () => {
  it('says what each has, in columns of any order', () => {
    const [row, ...more] = read(
      'IP,name,host,gateway,DNS,mac,vnc port,memory,vcpus,ssh_key,user-data\n' +
        '10.0.0.5/24,web,h1,10.0.0.1,10.0.0.2 10.0.0.3,52:54:00:00:00:01,5901,2GiB,2,me.pub,web.yaml\n',
    );
    expect(more).toEqual([]);
    expect(row).toEqual({
      ...{ name: 'web', host: 'h1', hostSelector: '', address: '10.0.0.5/24', gateway: '10.0.0.1' },
      ...{ dns: ['10.0.0.2', '10.0.0.3'], mac: '52:54:00:00:00:01', vncPort: 5901, memoryBytes: 2n ** 31n, vcpus: 2 },
      ...{ sshKeys: ['ssh-ed25519 AAAAfile me'], userData: '#cloud-config\nhostname: web\n', line: 2 },
    });
  });

  it('has columns by the names that people give them, and keys with options, several in a file or a cell', () => {
    writeFileSync(join(folder, 'many.pub'), '\uFEFF# of us\r\nssh-rsa AAAA me\r\nno-pty,from="a;b" ssh-rsa BBBB\r\n');
    const [one, two] = read(
      'name,host or selector,ip/prefix,vnc port,ssh key,user-data file\n' +
        'a,h1,10.0.0.5/24,5901,many.pub;me.pub,web.yaml\nb,zone=b,,,"command=""x; y"" ssh-rsa CCCC",\n',
    );
    expect(one).toMatchObject({
      host: 'h1',
      address: '10.0.0.5/24',
      vncPort: 5901,
      userData: '#cloud-config\nhostname: web\n',
    });
    expect(one?.sshKeys).toEqual(['ssh-rsa AAAA me', 'no-pty,from="a;b" ssh-rsa BBBB', 'ssh-ed25519 AAAAfile me']);
    expect(two).toMatchObject({ hostSelector: 'zone=b', sshKeys: ['command="x; y" ssh-rsa CCCC'] });
  });

  it('is read as spreadsheets and people write it', () => {
    const rows = read(
      '\uFEFF# of the first rack\r\n\r\n"name" , host, dns, ssh-key\r\n' +
        'web, "zone=b,!gpu", "10.0.0.2, 10.0.0.3", "ssh-ed25519 AAAA ""me"" # home"\r\n' +
        '# not yet: db\r\n,,,\r\n\r\nlast,h2,,',
    );
    expect(
      rows.map(({ name, host, hostSelector, dns, sshKeys, line }) => [name, host, hostSelector, dns, sshKeys, line]),
    ).toEqual([
      ['web', '', 'zone=b,!gpu', ['10.0.0.2', '10.0.0.3'], ['ssh-ed25519 AAAA "me" # home'], 4],
      ['last', 'h2', '', [], [], 8],
    ]);
    expect(read('name;dns\nweb;10.0.0.2,10.0.0.3\n')[0]?.dns).toEqual(['10.0.0.2', '10.0.0.3']);
    expect(read('\uFEFF# first rack, left\nname;ip\nweb;10.0.0.2/24\n')[0]?.address).toBe('10.0.0.2/24');
    expect(read('name\tip\nweb\t10.0.0.2/24\n')[0]?.address).toBe('10.0.0.2/24');
  });

  it('is read with what spreadsheets add: a line that says what divides cells, and columns of nothing', () => {
    for (const hint of ['sep=;', '\uFEFF"sep=;"'])
      expect(read(`${hint}\r\nname;dns\r\nweb;10.0.0.2,10.0.0.3\r\n`)[0]).toMatchObject({
        ...{ name: 'web', dns: ['10.0.0.2', '10.0.0.3'], line: 3 },
      });
    expect(read('name,host,,\nweb,h1,,\n,,,\ndb,,,\n').map((r) => [r.name, r.host])).toEqual([
      ['web', 'h1'],
      ['db', ''],
    ]);
    expect(faults('name,,\nweb,,h1\n')[0]).toContain('line 1: "" is no column');
  });

  it('leaves what is empty to what holds for all', () => {
    expect(read('name,memory,user-data\nweb,,\n')[0]).toMatchObject({ memoryBytes: 0n, userData: undefined });
  });

  it.each([
    [
      'name,memry\nweb,1\n',
      'hosts.csv line 1: "memry" is no column. Did you mean memory? Known are name, host, ip, gateway,',
    ],
    ['name,ip,address\n', 'hosts.csv line 1: there are two columns ip'],
    ['ip,host\n10.0.0.5/24,h1\n', 'hosts.csv line 1: there is no column name'],
    ['', 'hosts.csv is empty: its first line names the columns'],
    ['name\n', 'hosts.csv names columns, and no VM below them'],
    ['name\n"web\n', 'hosts.csv is no table that can be read: Quote Not Closed'],
    ['n\0a\0m\0e\0', 'zero bytes in it, as UTF-16 has. Save it as UTF-8'],
    ['web,10.0.0.5/24\n', 'hosts.csv line 1: "web" is no column'],
  ])('%j is refused', (text, why) => expect(faults(text)[0]).toMatch(why));

  it('tells all that is wrong at once, each with its line', () => {
    const text =
      'name,memory,vcpus,vnc-port,ssh-key\nweb,much,0,80,none.pub\ndb,1GiB\n,1GiB,1,5901,me.pub\nok,1GiB,1,5901,me.pub\n';
    expect(faults(text)).toEqual([
      expect.stringMatching(/^hosts\.csv line 2: memory: /),
      'hosts.csv line 2: vcpus: "0" is no number from 1 to 1024',
      'hosts.csv line 2: vnc-port: "80" is no number from 5900 to 65535',
      "hosts.csv line 2: ssh-key: can't read ./none.pub: there is no such file or folder",
      'hosts.csv line 3: it has 2 cells, and there are 5 columns',
      'hosts.csv line 4: it has no name',
    ]);
  });

  it('counts what it does not tell', () => {
    const lines = Array.from({ length: 30 }, (_, i) => `n${i},x`).join('\n');
    expect(faults(`name,vcpus\n${lines}\n`).at(-1)).toBe('and 10 more');
  });
});
