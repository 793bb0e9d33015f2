/** What can be asked for of a guest that is off, and whether it makes sense. Pure; how it is done is plan.ts's. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { checkSeed, type SeedNic } from '../volume/seed-files.ts';

export interface Actions {
  /** Empty: left as it is. */
  readonly hostname: string;
  /** Of all network cards; none: the guest's network is left as it is. */
  readonly nics: readonly SeedNic[];
  /** Added to those that may log in as `sshUser`. */
  readonly sshKeys: readonly string[];
  /** Empty: root. */
  readonly sshUser: string;
  /** A script that the guest runs once, as root, when it boots next. Empty: none. */
  readonly firstBoot: string;
  /** A login on the first serial port, and the kernel's messages there. */
  readonly serialLogin: boolean;
  readonly newMachineId: boolean;
  readonly newHostKeys: boolean;
  /** Everything that makes it one machine among others is taken out, as virt-sysprep does: for images. */
  readonly generalize: boolean;
}

const MAX_SCRIPT = 65_536;

/** @throws INVALID_ARGUMENT */
export function checkActions(a: Actions): Actions {
  const asked = a.hostname !== '' || a.nics.length > 0 || a.sshKeys.length > 0 || a.firstBoot !== '' || a.serialLogin;
  if (!asked && !a.newMachineId && !a.newHostKeys && !a.generalize)
    throw invalidArgument('nothing was asked for: name what is to be changed in the guest');
  checkSeed({ instanceId: 'x', hostname: a.hostname || 'x', nics: a.nics, sshKeys: a.sshKeys, userData: '' });
  if (a.sshUser !== '' && !/^[a-z_][a-z0-9_-]{0,31}$/.test(a.sshUser))
    throw invalidArgument(`${JSON.stringify(a.sshUser.slice(0, 40))} is no name of a user`);
  checkScript(a.firstBoot);
  return a;
}

function checkScript(script: string): void {
  if (script === '') return;
  const bytes = Buffer.byteLength(script);
  if (bytes > MAX_SCRIPT)
    throw invalidArgument(`the first-boot script is ${bytes} bytes long; ${MAX_SCRIPT} are allowed`);
  if (script.includes('\0')) throw invalidArgument('the first-boot script is no text: it has zero bytes');
  if (!script.startsWith('#!'))
    throw invalidArgument('the first-boot script must say what runs it in its first line, for example #!/bin/sh');
}
