/**
 * Our daemons under their units on a lab host with systemd, installed from the checkout as the README tells; and probes:
 * commands that run under a copy of a unit, with its sandbox and nothing else of it.
 */
import type { LabHost } from '@berth/deploy/lab/host.ts';
import { eventually } from './processes.ts';

export type UnitName = 'berth-agent' | 'berth-controller';
const SYSTEM = '/etc/systemd/system';
const PROBE = '/etc/berth-probe';

export class UnitHost {
  constructor(readonly host: LabHost) {}

  sh(script: string, ...args: readonly string[]): Promise<string> {
    return this.host.run(['sh', '-ec', script, 'sh', ...args]);
  }

  async install(unit: UnitName): Promise<void> {
    const folder = unit === 'berth-agent' ? 'agent' : 'controller';
    await this.sh(
      `ln -s /opt/berth/${folder}/bin/${unit}.js /usr/local/bin/${unit}
       cp /opt/berth/deploy/systemd/${unit}.service ${SYSTEM}/
       systemctl daemon-reload`,
    );
  }

  async start(unit: UnitName): Promise<void> {
    await this.sh('systemctl start "$1"', unit);
  }

  property(unit: string, name: string): Promise<string> {
    return this.sh('systemctl show --property="$2" --value "$1"', unit, name).then((out) => out.trim());
  }

  async mainPid(unit: UnitName): Promise<number> {
    return Number(await this.property(unit, 'MainPID'));
  }

  /** Runs what ends the unit's process, and waits until another has taken its place. */
  async restarted(unit: UnitName, command: string): Promise<void> {
    const before = await this.mainPid(unit);
    await this.sh(command);
    await eventually(`another process of ${unit}`, async () => ![0, before].includes(await this.mainPid(unit)));
  }

  journal(unit: string): Promise<string> {
    return this.sh('journalctl --quiet --no-pager --output=cat --unit="$1"', unit);
  }

  /** Adds settings to a unit; none takes them away again. Restarts nothing. */
  async dropIn(unit: UnitName, settings: string): Promise<void> {
    await this.sh(
      `dir=${SYSTEM}/$1.service.d; rm -rf "$dir"
       [ -z "$2" ] || { mkdir "$dir"; printf '[Service]\\n%s\\n' "$2" >"$dir/test.conf"; }
       systemctl daemon-reload`,
      unit,
      settings,
    );
  }

  /**
   * Runs shell commands under a unit's sandbox and answers each one's exit code.
   * @param change what is to be different in the unit's text.
   */
  async probe(
    unit: UnitName,
    commands: readonly string[],
    change: (text: string) => string = (t) => t,
  ): Promise<number[]> {
    const text = change(await this.host.readFile(`/opt/berth/deploy/systemd/${unit}.service`));
    const probe = text
      .replace(/^Type=.*$/m, `Type=oneshot\nStandardOutput=truncate:${PROBE}.out`)
      .replace(/^Restart.*\n/gm, '')
      .replace(/^ExecStart=.*$/m, `ExecStart=/bin/sh ${PROBE}`);
    const script = commands.map((c) => `( ${c} ) </dev/null >/dev/null 2>&1; echo "code $?"`).join('\n');
    await this.host.writeFile(PROBE, `${script}\n`);
    await this.host.writeFile(`${SYSTEM}/berth-probe.service`, probe);
    await this.sh('systemctl daemon-reload; systemctl start berth-probe.service');
    return [...(await this.host.readFile(`${PROBE}.out`)).matchAll(/^code (\d+)$/gm)].map((m) => Number(m[1]));
  }
}

/** Fields of /proc/PID/status. */
export async function statusOf(host: LabHost, pid: number): Promise<ReadonlyMap<string, string>> {
  const text = await host.readFile(`/proc/${pid}/status`);
  return new Map(
    text.split('\n').map((line) => {
      const cut = line.indexOf(':');
      return [line.slice(0, cut), line.slice(cut + 1).trim()];
    }),
  );
}

const CAPABILITY_NUMBERS: Readonly<Record<string, number>> = {
  CAP_CHOWN: 0,
  CAP_DAC_OVERRIDE: 1,
  CAP_FOWNER: 3,
  CAP_KILL: 5,
  CAP_SETGID: 6,
  CAP_SETUID: 7,
  CAP_SETPCAP: 8,
  CAP_NET_ADMIN: 12,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
};

/** As /proc/PID/status writes a set. */
export const capabilityMask = (names: readonly string[]): string =>
  names
    .reduce((sum, name) => sum + 2n ** BigInt(CAPABILITY_NUMBERS[name] ?? 63), 0n)
    .toString(16)
    .padStart(16, '0');

/** Those that a unit's text grants. */
export const granted = (unitText: string): string[] =>
  [...unitText.matchAll(/^CapabilityBoundingSet=(.*)$/gm)].flatMap((m) => (m[1] ?? '').split(' ').filter(Boolean));
