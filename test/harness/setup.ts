/** Runs before each test file: a promise that failed and that nobody awaited is a fault of the test or of Berth. */
function insist(e: unknown): never {
  throw e;
}

// Where files share a process, each runs this anew: one listener is enough.
if (!process.listeners('unhandledRejection').some((l) => l.name === insist.name))
  process.on('unhandledRejection', insist);

export {};
