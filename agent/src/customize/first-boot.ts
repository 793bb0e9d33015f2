/**
 * What a guest runs once when it boots next: as a unit where there is systemd, from rc.local, OpenRC's local.d or inittab elsewhere.
 * The script is moved away before it runs, so it never runs twice, whatever becomes of the guest meanwhile. Pure.
 */
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { Change } from '../drivers/guest-disks.ts';
import { link, linesOf, textOf, write, type Guest } from './guest.ts';

const DIR = '/usr/lib/berth';

const UNIT = `# Written by Berth: runs ${DIR}/first-boot once.
[Unit]
Description=First boot of this machine
ConditionPathExists=${DIR}/first-boot
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
ExecStart=${DIR}/run-once first-boot
StandardOutput=journal+console
StandardError=journal+console
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
`;

const RUN_ONCE = `#!/bin/sh
# Written by Berth: runs a script of this folder once.
cd ${DIR} && [ -e "$1" ] || exit 0
mv "$1" "$1.done" && sync && exec "./$1.done"
`;

export function firstBootHook(guest: Guest, script: string): Change[] {
  const files = [write(`${DIR}/run-once`, RUN_ONCE, 0o755), write(`${DIR}/first-boot`, script, 0o755)];
  if (!guest.systemd) return [...files, ...hook(guest, `${DIR}/run-once first-boot`)];
  const unit = 'berth-first-boot.service';
  const path = `/etc/systemd/system/${unit}`;
  return [...files, write(path, UNIT), link(`/etc/systemd/system/multi-user.target.wants/${unit}`, path)];
}

/** Of guests without systemd. @param body of a shell script. */
export function onceAtBoot(guest: Guest, name: string, body: string): Change[] {
  const script = write(`${DIR}/${name}`, `#!/bin/sh\n${body}\n`, 0o755);
  return [write(`${DIR}/run-once`, RUN_ONCE, 0o755), script, ...hook(guest, `${DIR}/run-once ${name}`)];
}

const RC_LOCAL = ['/etc/rc.d/rc.local', '/etc/rc.local'];

function hook(guest: Guest, command: string): Change[] {
  if (guest.has('/etc/local.d')) {
    const name = command.split(' ').at(-1);
    return [
      write(`/etc/local.d/berth-${name}.start`, `#!/bin/sh\n${command}\n`, 0o755),
      link('/etc/runlevels/default/local', '/etc/init.d/local'),
    ];
  }
  const local = RC_LOCAL.find((p) => guest.has(p));
  if (local !== undefined) return [write(local, beforeExit(guest.text(local) ?? '', command), 0o755)];
  if (guest.has('/etc/inittab')) {
    const lines = linesOf(guest.text('/etc/inittab') ?? '');
    const line = `::once:${command}`;
    return lines.includes(line) ? [] : [write('/etc/inittab', textOf([...lines, line]))];
  }
  throw unsupported(
    'the guest has neither systemd nor rc.local, local.d or inittab: nothing in it would run a script at boot',
  );
}

/** rc.local often ends with `exit 0`. */
function beforeExit(text: string, command: string): string {
  const lines = linesOf(text);
  if (lines.includes(command)) return text;
  if (lines.length === 0) lines.push('#!/bin/sh');
  const exit = lines.findLastIndex((l) => /^\s*exit\b/.test(l));
  return textOf(exit < 0 ? [...lines, command] : [...lines.slice(0, exit), command, ...lines.slice(exit)]);
}
