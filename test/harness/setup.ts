/**
 * Runs before each test file: a promise that failed and that nobody awaited is a fault of the test or of Berth, and so are a
 * leak of listeners and an address as the name in a TLS handshake, of which Node only warns. Waits are patient.
 */
import { vi } from 'vitest';

function insist(e: unknown): never {
  throw e;
}

/** Why a warning of Node's is a fault; undefined for others. */
export const faultIn = (w: Error & { readonly code?: string }): Error | undefined =>
  w.code === 'DEP0123' || w.name === 'MaxListenersExceededWarning' ? w : undefined;

function heed(w: Error): void {
  const fault = faultIn(w);
  if (fault) throw fault;
}

// Where files share a process, each runs this anew: one listener is enough.
if (!process.listeners('unhandledRejection').some((l) => l.name === insist.name))
  process.on('unhandledRejection', insist);
if (!process.listeners('warning').some((l) => l.name === heed.name)) process.on('warning', heed);

/** vitest gives up after a second, which a busy machine may let pass before anything has run. */
const PATIENCE_MS = 15_000;

function patient<F extends typeof vi.waitFor | typeof vi.waitUntil>(wait: F): F {
  const patiently = (what: never, o?: number | object): unknown =>
    wait(what, typeof o === 'number' ? o : { timeout: PATIENCE_MS, ...o });
  return patiently as F;
}

if (vi.waitFor.name !== 'patiently')
  Object.assign(vi, { waitFor: patient(vi.waitFor), waitUntil: patient(vi.waitUntil) });
