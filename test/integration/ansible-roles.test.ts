/** Parts of the roles and playbooks of the Ansible collection on this machine, without any host: what they write, and what they refuse. */
import { copyFileSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Ansible } from '../harness/ansible.ts';

describe('the roles and playbooks of the Ansible collection', () => {
  const ansible = new Ansible();
  const local = { ansible_connection: 'local', ansible_python_interpreter: '/usr/bin/python3', ansible_become: false };
  beforeAll(() => ansible.install().then(() => undefined), 60_000);
  afterAll(() => ansible.remove());

  it('refuse hosts that the inventory has not, and a limit, before anything is done', async () => {
    const children = { berth_controller: { hosts: { ctl: {} } }, berth_hosts: { hosts: { h1: {}, h2: {} } } };
    const more = { ...children, others: { hosts: { x1: {} } } };
    writeFileSync(join(ansible.dir, 'inventory.json'), JSON.stringify({ all: { vars: local, children: more } }));
    const refused: [string, string[], RegExp][] = [
      ['add_host', [], /Which host\? Say -e berth_add=NAME/],
      ['add_host', ['-e', 'berth_add=h1,h9'], /h9 is no host of the inventory/],
      ['remove_host', ['-e', 'berth_remove=x1'], /x1 is no host of the inventory/],
      ['remove_host', ['-e', 'berth_remove=h*', '--limit', 'h1'], /say -e berth_remove=NAME, and no --limit/],
    ];
    for (const [playbook, args, words] of refused) {
      const { code, out } = await ansible.play(`berth.berth.${playbook}`, ...args);
      expect([code, out]).toEqual([2, expect.stringMatching(words)]);
    }
  }, 120_000);

  it('write settings of libvirt so that it reads what was meant', async () => {
    const src = join(ansible.collection, 'roles/agent/templates/libvirt.conf.j2');
    const dest = join(ansible.dir, 'qemu.conf');
    const write = (settings: Record<string, unknown>) =>
      ansible.task<{ msg?: string }>('template', `src=${src} dest=${dest}`, '-e', JSON.stringify({ settings }));
    await write({ a_list: ['x', 1], flag: true, gone: null, vnc_password: 'say "hi"' });
    expect(readFileSync(dest, 'utf8').split('\n').slice(1, -1)).toEqual([
      'a_list = ["x", 1]',
      'flag = 1',
      `vnc_password = 'say "hi"'`,
    ]);
    expect((await write({ vnc_password: 'two\nlines' })).msg).toMatch(/cannot be written: it has line breaks/);
  }, 60_000);

  it('write what was in a vault as what it is', async () => {
    const password = join(ansible.dir, 'vault');
    writeFileSync(password, 'secret\n');
    const vault = ['--vault-password-file', password];
    const hidden = await ansible.run('ansible-vault', [
      'encrypt_string',
      ...vault,
      'http://u:p@otel:4318',
      '--name',
      'endpoint',
    ]);
    const vars = join(ansible.dir, 'vars.yml');
    writeFileSync(vars, `berth_agent_config:\n  tracing:\n    ${hidden.trimEnd().replaceAll('\n', '\n    ')}\n`);
    const dest = join(ansible.dir, 'agent.yaml');
    const src = join(ansible.collection, 'roles/agent/templates/agent.yaml.j2');
    await ansible.task('template', `src=${src} dest=${dest}`, '-e', `@${vars}`, ...vault);
    expect(readFileSync(dest, 'utf8')).toMatch(/\ntracing:\n +endpoint: http:\/\/u:p@otel:4318\n/);
  }, 60_000);

  /** Variables of roles, as a host of an inventory has them. */
  async function variables(inventory: object, ...names: string[]): Promise<{ code: number; out: string; of: unknown }> {
    const [role, dest] = [join(ansible.dir, 'roles/seen'), join(ansible.dir, 'variables')];
    for (const folder of ['defaults/main', 'tasks']) mkdirSync(join(role, folder), { recursive: true });
    for (const name of ['agent', 'controller'])
      copyFileSync(
        join(ansible.collection, `roles/${name}/defaults/main.yml`),
        join(role, `defaults/main/${name}.yml`),
      );
    writeFileSync(join(ansible.dir, 'inventory.json'), JSON.stringify({ all: { vars: local, children: inventory } }));
    const content = `{{ [${names.join(', ')}] | to_json }}\n`;
    writeFileSync(join(role, 'tasks/main.yml'), JSON.stringify([{ copy: { content, dest } }]));
    const play = join(ansible.dir, 'variables.yml');
    writeFileSync(play, JSON.stringify([{ hosts: 'berth_hosts[0]', gather_facts: false, roles: ['seen'] }]));
    const { code, out } = await ansible.play(play);
    return { code, out, of: code === 0 ? JSON.parse(readFileSync(dest, 'utf8')) : undefined };
  }

  it('call hosts by names that Berth takes, and never two by one', async () => {
    const named = async (...machines: string[]) => {
      const hosts = Object.fromEntries(machines.map((machine) => [machine, {}]));
      return variables({ berth_controller: { hosts: { ctl: {} } }, berth_hosts: { hosts } }, 'berth_host_name');
    };
    expect((await named('H1.example.org', 'h2.example.org')).of).toEqual(['h1']);
    expect((await named('rack_7', '10.0.0.1')).of).toEqual(['rack-7']);
    expect((await named('10.0.0.1', '10.0.0.2')).of).toEqual(['10-0-0-1']);
    const { code, out } = await named('h1.a.org', 'h1.b.org');
    expect([code, out.replaceAll(/\s+/g, ' ')]).toEqual([
      2,
      expect.stringMatching(/h1\.a\.org and h1\.b\.org would both be host h1/),
    ]);
  }, 120_000);

  it('know addresses of IPv6, and the ports that the configuration of the daemons says', async () => {
    const asked = [
      'berth_controller_address',
      'berth_host_address',
      'berth_firewall_peers',
      'berth_agent_ports',
      'berth_api_port',
      'berth_api_host',
    ];
    const at = (controller: object, host: object) =>
      variables({ berth_controller: { hosts: { ctl: controller } }, berth_hosts: { hosts: { h1: host } } }, ...asked);
    const six = await at({ ansible_host: 'fd00::1' }, { ansible_host: 'fd00::2' });
    expect(six.of, six.out).toEqual(['[fd00::2]:7443', '[fd00::2]:7444', ['fd00::2'], ['7444', '7445'], '7480', '']);
    const other = await at(
      { berth_controller_config: { listen: '0.0.0.0:8443' } },
      {
        berth_address: '10.0.0.2:9000',
        berth_agent_config: { listen: '[::]:7500', peerListen: '0.0.0.0:7501', metrics: { listen: '10.0.0.2:7446' } },
      },
    );
    expect(other.of, other.out).toEqual([
      '10.0.0.2:9000',
      '10.0.0.2:9000',
      ['10.0.0.2'],
      ['7500', '7501', 7446],
      '8480',
      '',
    ]);
    const hosts = { h1: { berth_controller_config: { httpListen: '127.0.0.1:9480' } } };
    const groups = { berth_controller: { hosts }, berth_hosts: { hosts } };
    const own = await variables(groups, 'berth_api_host', 'berth_api_port', 'berth_controller_open_ports');
    expect(own.of, own.out).toEqual(['127.0.0.1', '9480', [7443]]);
  }, 120_000);

  it('show no password of a configuration', async () => {
    const shown = (config: object) =>
      ansible.task<{ msg: unknown }>(
        'debug',
        `msg="{{ config | berth.berth.has_password }}"`,
        '-e',
        JSON.stringify({ config }),
      );
    expect((await shown({ tracing: { endpoint: 'http://u:p@otel:4318' } })).msg).toBe(true);
    expect((await shown({ tracing: { endpoint: 'http://otel:4318' }, listen: '[::]:7444' })).msg).toBe(false);
  }, 60_000);

  it('tell a daemon of a file that a play before has written, and did not live to tell it', async () => {
    const [file, told] = [join(ansible.dir, 'x.conf'), join(ansible.dir, 'told')];
    const since = 'StateChangeTimestamp=Sun 2026-01-04 10:00:00 UTC';
    const answer = `printf '%s\\n' '${since}' 'StateChangeTimestamp='`;
    writeFileSync(join(ansible.dir, 'systemctl'), `#!/bin/sh\n${answer}\n`, { mode: 0o755 });
    writeFileSync(file, '');
    const units = [
      { unit: 'x', files: [file, `${file}.none`], handler: 'Tell it' },
      { unit: 'not-there', files: [file], handler: 'Nobody' },
    ];
    const role = { name: 'berth.berth.packages', tasks_from: 'told.yml' };
    const play = join(ansible.dir, 'told.yml');
    const environment = { PATH: `${ansible.dir}:/usr/bin:/bin` };
    const tasks = [{ 'ansible.builtin.include_role': role, vars: { berth_told: units } }];
    const handlers = [{ name: 'Tell it', 'ansible.builtin.copy': { content: 'yes', dest: told } }];
    const plays = [{ hosts: 'localhost', gather_facts: false, environment, vars: local, tasks, handlers }];
    writeFileSync(play, JSON.stringify(plays));
    const changed = async (written: string): Promise<number> => {
      utimesSync(file, new Date(written), new Date(written));
      const said = await ansible.run('ansible-playbook', ['-i', 'localhost,', play]);
      return Number(/localhost +: ok=\d+ +changed=(\d+)/.exec(said)?.[1]);
    };
    expect(await changed('2026-01-04T10:00:00.900Z')).toBe(0);
    expect(await changed('2026-01-04T10:00:02Z')).toBe(2);
    expect(readFileSync(told, 'utf8')).toBe('yes');
  }, 120_000);
});
