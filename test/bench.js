/**
 * `npm run bench`: makes the machine ready, then hands over to the bundled bench. Plain JavaScript without dependencies,
 * because on a fresh machine there are none yet. Arguments choose topics: state scheduler cli controller http vm agent
 * scrape instant fanout.
 */
import { ensureSetup } from '../deploy/setup.js';
import { phaseLine } from '../deploy/setup/phases.js';

const TOPICS = ['state', 'scheduler', 'cli', 'controller', 'http', 'vm', 'agent', 'scrape', 'instant', 'fanout'];
/** Topics that need real hosts. */
const IN_LAB = ['vm', 'agent', 'scrape', 'instant', 'fanout'];

const wanted = process.argv.slice(2);
const unknown = wanted.find((w) => !TOPICS.includes(w));
if (unknown !== undefined) {
  console.error(`no topic ${unknown}. Topics: ${TOPICS.join(' ')}`);
  process.exit(2);
}
const topics = TOPICS.filter((t) => wanted.length === 0 || wanted.includes(t));
const lab = topics.some((t) => IN_LAB.includes(t));

const quiet = (event) => event.state === 'done' && event.ms === 0 && event.detail === 'up to date';
const setup = await ensureSetup({
  lab,
  say(event) {
    const line = quiet(event) ? undefined : phaseLine(event);
    if (line !== undefined) console.log(line);
  },
});
if (!setup.ready) {
  console.error(`npm run bench: ${setup.reason ?? 'the set-up failed; see .lab/setup.log'}`);
  process.exit(1);
}

const { bench } = await import('./dist/bench.js');
for (const topic of topics) {
  if (IN_LAB.includes(topic) && setup.lab === undefined) {
    console.log(`\n${topic}: left out, the lab can't run here: ${setup.labReason}`);
    continue;
  }
  await bench(topic, (line) => console.log(line));
}
process.exit(0);
