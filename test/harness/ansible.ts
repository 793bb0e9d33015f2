/** Ansible for tests: the collection built and installed into a folder of its own, an inventory of lab hosts, SSH with a key of its own. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { findRoot } from '@berth/deploy/setup/root.js';

export interface Played {
  readonly code: number;
  readonly out: string;
  /** By host: how many tasks changed something. */
  readonly changed: Readonly<Record<string, number>>;
}

/** As every Debian has it, with the exceptions that a container needs. */
const VARIABLES = {
  ansible_user: 'root',
  ansible_python_interpreter: '/usr/bin/python3',
  berth_apt_update: false,
  berth_agent_config: { domainType: 'qemu' },
  berth_qemu_settings: { user: 'root', group: 'root', security_driver: 'none', namespaces: [], cgroup_controllers: [] },
  berth_libvirtd_settings: { unix_sock_group: 'root', host_uuid: '{{ inventory_hostname | to_uuid }}' },
};

/** What a module answers, of that which all answer. */
export interface Told {
  readonly changed?: boolean;
  readonly failed?: boolean;
  readonly msg?: string;
}

export class Ansible {
  readonly dir = mkdtempSync(join(tmpdir(), 'berth-ansible-'));
  readonly collection = join(this.dir, 'c/ansible_collections/berth/berth');
  readonly #key = join(this.dir, 'key');
  readonly #env = {
    ANSIBLE_COLLECTIONS_PATH: join(this.dir, 'c'),
    ANSIBLE_HOME: join(this.dir, 'home'),
    ANSIBLE_LOCAL_TEMP: join(this.dir, 'home/tmp'),
    ANSIBLE_HOST_KEY_CHECKING: 'False',
    ANSIBLE_PIPELINING: 'True',
    ANSIBLE_NOCOLOR: '1',
    ANSIBLE_SSH_CONTROL_PATH_DIR: join(this.dir, 'cp'),
    ANSIBLE_SSH_ARGS: `-i ${this.#key} -o ControlMaster=auto -o ControlPersist=30s -o UserKnownHostsFile=/dev/null`,
  };

  /** Builds and installs the collection. Answers what ansible-galaxy said. */
  async install(): Promise<string> {
    const build = ['collection', 'build', '--output-path', this.dir, join(findRoot(), 'deploy/ansible')];
    const said = await execa('ansible-galaxy', build, { env: this.#env, all: true });
    const file = readdirSync(this.dir).find((name) => name.endsWith('.tar.gz')) ?? 'no collection';
    const install = ['collection', 'install', join(this.dir, file), '--offline', '-p', join(this.dir, 'c')];
    await execa('ansible-galaxy', install, { env: this.#env });
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', this.#key]);
    return said.all;
  }

  /** Lets Ansible in, as somebody who has set up the machine would. */
  async letIn(host: LabHost): Promise<void> {
    await host.writeFile('/root/.ssh/authorized_keys', readFileSync(`${this.#key}.pub`));
    await host.run(['sh', '-c', 'chmod 700 /root/.ssh; chmod 600 /root/.ssh/authorized_keys']);
  }

  inventory(groups: Readonly<Record<string, readonly LabHost[]>>, variables: Readonly<Record<string, unknown>>): void {
    const children = Object.fromEntries(
      Object.entries(groups).map(([group, hosts]) => [
        group,
        { hosts: Object.fromEntries(hosts.map((h) => [h.name, { ansible_host: h.address }])) },
      ]),
    );
    const all = { all: { vars: { ...VARIABLES, ...variables }, children } };
    writeFileSync(join(this.dir, 'inventory.json'), JSON.stringify(all));
  }

  /** @param playbook a file, or the name of one of the collection. */
  async play(playbook: string, ...args: readonly string[]): Promise<Played> {
    const options = { env: this.#env, all: true, reject: false, cwd: this.dir } as const;
    const said = await execa('ansible-playbook', ['-i', join(this.dir, 'inventory.json'), playbook, ...args], options);
    const recap = [...said.all.matchAll(/^(\S+) +: ok=\d+ +changed=(\d+)/gm)];
    const changed = Object.fromEntries(recap.map(([, host = '', count]) => [host, Number(count)]));
    return { code: said.exitCode ?? 1, out: said.all, changed };
  }

  /** One task on this machine, as an ad-hoc command. Answers what its module said. */
  async task<T>(module: string, args: string, ...more: readonly string[]): Promise<T> {
    const line = ['-i', 'localhost,', '-c', 'local', '-o', 'localhost', '-m', module, '-a', args, ...more];
    const here = { ...this.#env, ANSIBLE_PYTHON_INTERPRETER: '/usr/bin/python3' };
    const said = await execa('ansible', line, { env: here, cwd: this.dir, reject: false, all: true });
    const at = said.all.indexOf('=> {');
    if (at < 0) throw new Error(`ansible said: ${said.all}`);
    const told = JSON.parse(said.all.slice(at + 3)) as object;
    return { failed: said.exitCode !== 0, ...told } as T;
  }

  async run(program: string, args: readonly string[], cwd = this.dir): Promise<string> {
    return (await execa(program, args, { env: this.#env, cwd })).stdout;
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
