/** Runs before each test file: a promise that failed and that nobody awaited is a fault of the test or of Berth. */
process.on('unhandledRejection', (e) => {
  throw e;
});
