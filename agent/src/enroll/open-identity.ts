/**
 * A HostIdentity over its file: brings files of older agents into today's form, goes back to the former pair when the
 * present one can't serve, and takes over what `berth-agent enroll` writes while the agent runs.
 */
import { badState, chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { checkPair } from './check.ts';
import { HostIdentity } from './host-identity.ts';
import { identityStamp, loadIdentity, saveIdentity, type StoredIdentity } from './identity-store.ts';

const LOOK_MS = 2_000;

export interface OpenOptions {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
}

export type OpenIdentity = HostIdentity & { close(): void };

/** The caller holds the data directory; only enrolment writes the file beside it. */
export async function openIdentity(loaded: StoredIdentity, o: OpenOptions): Promise<OpenIdentity> {
  const stored = usable(loaded, o);
  if (stored !== loaded || (await identityStamp(o.dataDir)) === '') await saveIdentity(o.dataDir, stored);
  let stamp = await identityStamp(o.dataDir);
  const save = async (next: StoredIdentity): Promise<void> => {
    if ((await identityStamp(o.dataDir)) !== stamp)
      throw badState('this host is being enrolled again just now: try once more');
    await saveIdentity(o.dataDir, next);
    stamp = await identityStamp(o.dataDir);
  };
  const identity = new HostIdentity(stored, { now: () => o.clock.now(), save });
  let timer: Timer | undefined;
  let told = '';
  const look = async (): Promise<void> => {
    try {
      const now = await identityStamp(o.dataDir);
      if (now !== stamp && now !== '') {
        identity.adopt(await loadIdentity(o.dataDir));
        stamp = now;
        told = '';
        o.log.info('this host was enrolled again; its new certificates are in use');
      }
    } catch (e) {
      // it stays so until a person does something: saying it once is enough
      const words = `${await identityStamp(o.dataDir)} ${chain(e)}`;
      if (words !== told) o.log.error({ err: e }, 'the identity on disk cannot be taken over');
      told = words;
    }
    timer = o.clock.after(LOOK_MS, () => void look());
  };
  timer = o.clock.after(LOOK_MS, () => void look());
  return Object.assign(identity, { close: () => timer?.cancel() });
}

/** The pair in service, or the one before it when only that one is good. */
function usable(stored: StoredIdentity, o: OpenOptions): StoredIdentity {
  const { formerControl, control, hostId, trust } = stored;
  if (formerControl === undefined) return stored;
  const wanted = { purpose: 'control' as const, hostId, cas: trust.control, nowMs: o.clock.now() };
  const fault = faultOf(() => checkPair(control, wanted));
  if (fault === undefined || faultOf(() => checkPair(formerControl, wanted)) !== undefined) return stored;
  o.log.warn({ fault }, 'the newest certificate cannot serve; the one before it is back in service');
  return { ...stored, control: formerControl, formerControl: undefined };
}

function faultOf(check: () => void): string | undefined {
  try {
    check();
    return undefined;
  } catch (e) {
    return chain(e);
  }
}
