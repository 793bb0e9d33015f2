/**
 * Runs before each test file: a promise that failed and that nobody awaited is a fault of the test or of Berth, and so are a
 * leak of listeners and an address as the name in a TLS handshake, of which Node only warns.
 */
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
