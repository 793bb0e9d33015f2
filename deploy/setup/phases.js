/**
 * Phases of the set-up as events, and as the lines that quickstart and the test command print.
 */
const TITLES = {
  packages: 'system packages',
  dependencies: 'dependencies',
  build: 'build',
  engine: 'docker engine',
  'host-image': 'host image',
  'guest-image': 'guest image',
  'debian-image': 'Debian guest',
  prometheus: 'Prometheus, for tests',
};
const MARKS = { start: '…', done: '✔', fail: '✘' };

/**
 * Reports to `say`: { phase, title, state: 'start' | 'done' | 'fail', detail, ms }. A phase with nothing to do is `done`
 * at once, without a `start`.
 */
export function reporter(say, nowMs = () => performance.now()) {
  return {
    async phase(phase, announcement, satisfied, work) {
      const title = TITLES[phase] ?? phase;
      if (satisfied) return say({ phase, title, state: 'done', detail: 'up to date', ms: 0 });
      const startedMs = nowMs();
      say({ phase, title, state: 'start', detail: announcement, ms: 0 });
      try {
        const detail = await work();
        say({ phase, title, state: 'done', detail, ms: nowMs() - startedMs });
      } catch (error) {
        say({ phase, title, state: 'fail', detail: error.message.split('\n')[0], ms: nowMs() - startedMs });
        throw error;
      }
    },
  };
}

/** ` ✔ host image                 about 370 MB, cached for next time           33 s`. Pure. */
export function phaseLine({ title, state, detail, ms }) {
  const took = state === 'start' || ms === 0 ? '' : durationText(ms);
  return ` ${MARKS[state]} ${title.padEnd(26)} ${detail.padEnd(42)} ${took}`.trimEnd();
}

/** 0.4 s, 41 s, 1 m 12 s. Pure. */
export function durationText(ms) {
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
}
