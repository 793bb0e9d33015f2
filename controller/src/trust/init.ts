/**
 * `berth-controller init`: makes an installation in an empty directory, once: database, CA, certificate, and the first
 * administrator's token. The marker is written last, so that what a crash left half made is never taken for whole.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Grant } from '@berth/shared/model/access.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { decodeLoginLine, encodeLoginLine } from '@berth/shared/trust/lines.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import { joinAddress, splitAddress } from '../app/address.ts';
import { withGrant } from '../app/grants.ts';
import { bearerOf, putToken } from '../app/tokens.ts';
import { isAdministrator } from '../app/administrators.ts';
import { putUser } from '../app/users.ts';
import { openState } from '../state/open-state.ts';
import type { State, Tx } from '../state/state.ts';
import { initState } from '../state/sqlite/init.ts';
import { DEFAULT_LIFETIMES, type Lifetimes } from './authority.ts';
import { loadIdentity, newTrust, paths, readInstallation } from './identity.ts';
import { saveTrust, writeSecretFile } from './store.ts';

export interface InitOptions {
  readonly dataDir: string;
  /** host:port under which agents and people will reach the controller; the first goes into tokens. */
  readonly addresses: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  /** Of the CAs and the controller's certificate. */
  readonly lifetimes?: Lifetimes;
  readonly workerFile?: string | URL;
}

const API_PORT = 7443;
const ADMIN_TOKEN_MS = 10 * 365 * 86_400_000;

/** Refuses to run twice. @returns where the administrator's login line is. */
export async function initialise(o: InitOptions): Promise<{ installationId: string; adminTokenFile: string }> {
  const at = paths(o.dataDir);
  const addresses = o.addresses.map(checkAddress);
  refuseUnlessEmpty(o.dataDir);
  try {
    const installationId = await make(o, addresses);
    return { installationId, adminTokenFile: at.adminToken };
  } catch (e) {
    // nothing of it was there before
    for (const suffix of ['', '-wal', '-shm', '.pid']) rmSync(at.database + suffix, { force: true });
    for (const made of [at.trust, at.caCertificate, at.adminToken])
      for (const suffix of ['', '.new']) rmSync(made + suffix, { force: true });
    throw e;
  }
}

async function make(o: InitOptions, addresses: readonly string[]): Promise<string> {
  const at = paths(o.dataDir);
  const { installationId } = initState({ path: at.database, clock: o.clock });
  const installation = { installationId, addresses: [...addresses] };
  const trust = await newTrust(installation, o.clock.now(), o.lifetimes ?? DEFAULT_LIFETIMES);
  saveTrust(o.dataDir, trust);
  await writeAdminToken(o, addresses[0] ?? '', publicKeyPin(trust.control.active.certificatePem));
  writeSecretFile(at.marker, JSON.stringify(installation) + '\n');
  return installationId;
}

/**
 * Other addresses for an installation whose controller is stopped: they go into its certificate when it starts, into tokens, and into
 * the administrator's login line where that is still there. Twice is once. The marker is written last: while it has the old ones, who
 * compares (the role of Ansible does) sees that this is to be done again.
 */
export async function setAddresses(o: InitOptions): Promise<void> {
  const at = paths(o.dataDir);
  const installation = { ...readInstallation(o.dataDir), addresses: o.addresses.map(checkAddress) };
  const state = await openStopped(o);
  try {
    if (existsSync(at.adminToken)) {
      const login = decodeLoginLine(readFileSync(at.adminToken, 'utf8'));
      const [controller = login.controller] = installation.addresses;
      writeSecretFile(at.adminToken, encodeLoginLine({ ...login, controller }) + '\n');
    }
    writeSecretFile(at.marker, JSON.stringify(installation) + '\n');
  } finally {
    await state.close();
  }
}

/** A new administrator's token for a controller that is stopped: the way back in when all others are lost. */
export async function renewAdminToken(o: Omit<InitOptions, 'addresses'>): Promise<string> {
  const identity = await loadIdentity(o.dataDir, o.clock.now(), o.lifetimes);
  await writeAdminToken(o, identity.addresses[0] ?? '', identity.caPin);
  return paths(o.dataDir).adminToken;
}

async function writeAdminToken(o: Omit<InitOptions, 'addresses'>, controller: string, caPin: string): Promise<void> {
  const at = paths(o.dataDir);
  const state = await openStopped(o);
  try {
    const made = await state.update((tx) => {
      tx.event({
        type: 'token.created',
        severity: 'info',
        subjectKind: 'token',
        subject: 'admin',
        message: "the administrator's token was made on the controller's machine",
        jobId: undefined,
      });
      ensureAdministrator(tx);
      return putToken(tx, { user: 'admin', role: 'admin', lifetimeMs: ADMIN_TOKEN_MS });
    });
    writeSecretFile(at.adminToken, encodeLoginLine({ controller, caPin, token: bearerOf(made) }) + '\n');
  } finally {
    await state.close();
  }
}

/** Of a controller that does not run: one that does holds the lock of its database, and that is what the error says. */
async function openStopped(o: Omit<InitOptions, 'addresses'>): Promise<State> {
  const { clock, log } = o;
  const workerFile = o.workerFile === undefined ? {} : { workerFile: o.workerFile };
  return openState({ path: paths(o.dataDir).database, clock, log, onFatal: () => undefined, ...workerFile });
}

/** Whoever owns the controller's machine can always get back in. */
function ensureAdministrator(tx: Tx): void {
  const everything: Grant = { role: 'admin', cluster: '', selector: '' };
  const user = tx.users.byName('admin');
  if (user === undefined) putUser(tx, { name: 'admin', kind: 'person', grants: [everything] });
  else if (!isAdministrator(user))
    tx.users.put({
      ...user,
      disabled: false,
      grants: withGrant(user.grants, everything),
      generation: user.generation + 1,
    });
}

function refuseUnlessEmpty(dataDir: string): void {
  const at = paths(dataDir);
  if (existsSync(at.marker))
    throw badState(`${dataDir} holds an installation already. Start it: berth-controller run --data-dir ${dataDir}`);
  const left = [at.database, at.trust, at.legacyCaKey, at.adminToken].find((f) => existsSync(f));
  if (left !== undefined)
    throw badState(
      `${dataDir} holds parts of an installation (${left}) but not all of it: init was interrupted, or files are missing. ` +
        `Restore them, or empty the directory to begin anew`,
    );
}

function checkAddress(text: string): string {
  const parts = splitAddress(text, API_PORT);
  if (parts) return joinAddress(parts.host, parts.port);
  throw invalidArgument(
    `${JSON.stringify(text.slice(0, 80))} is not an address: write it like berth.example:${API_PORT}`,
  );
}
