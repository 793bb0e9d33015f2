/**
 * `npm run quickstart`: makes the machine ready (setup.js), then hands over to the bundled quickstart. Plain JavaScript
 * without dependencies, because on a fresh machine there are none yet.
 */
import { existsSync } from 'node:fs';
import { ensureSetup } from './setup.js';
import { dockerSocket } from './setup/docker-api.js';
import { stopOwnEngine } from './setup/engine.js';
import { phaseLine } from './setup/phases.js';
import { stateDirectory } from './setup/root.js';

const USAGE = `npm run quickstart                    a controller and three hosts in containers, with two VMs
npm run quickstart -- --hosts 5       the same with five hosts (1 to 50)
npm run quickstart -- --simulate      the same with simulated hosts: no root, no libvirt
npm run quickstart -- --down          stop and remove all of it
npm run quickstart -- --name NAME …   another one beside it; --down --name NAME removes that one`;

/** @returns the options, or undefined when they make no sense. */
function options(argv) {
  const o = { hosts: 3, name: undefined, simulate: false, down: false, help: false };
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--hosts') o.hosts = Number(argv[++i]);
    else if (argv[i] === '--name') o.name = argv[++i] ?? '';
    else if (argv[i] === '--simulate') o.simulate = true;
    else if (argv[i] === '--down') o.down = true;
    else if (argv[i] === '--help' || argv[i] === '-h') o.help = true;
    else return undefined;
  }
  const named = o.name === undefined || /^[a-z0-9][a-z0-9-]{0,19}$/.test(o.name);
  return named && Number.isInteger(o.hosts) && o.hosts >= 1 && o.hosts <= 50 ? o : undefined;
}

function fail(line, code = 1) {
  console.error(`quickstart: ${line}`);
  process.exit(code);
}

const o = options(process.argv.slice(2));
if (o === undefined) fail(`wrong options. Known are:\n${USAGE}`, 2);
if (o.help) {
  console.log(USAGE);
  process.exit(0);
}

const hosts = o.hosts === 1 ? '1 host' : `${o.hosts} hosts`;
const lab = !o.simulate && !o.down;
const same = [o.simulate ? ' --simulate' : '', o.name === undefined ? '' : ` --name ${o.name}`];
process.once('SIGINT', () =>
  fail(
    `interrupted. Go on: npm run quickstart --${same.join('')}    Remove it: npm run quickstart -- --down${same[1]}`,
    130,
  ),
);
if (!o.down)
  console.log(
    o.simulate
      ? `Berth quickstart: ${hosts} that are simulated (no libvirt, no guests: to look around)`
      : `Berth quickstart: ${hosts} in containers, real libvirt and QEMU (emulated CPUs)`,
  );
const shown = (event) =>
  event.state === 'done' && event.ms === 0 && event.detail === 'up to date' ? undefined : phaseLine(event);
// What was built once can remove what it made, whatever the checkout looks like now.
const setup =
  o.down && existsSync(new URL('./dist/quickstart.js', import.meta.url))
    ? { ready: true }
    : await ensureSetup({
        lab,
        say(event) {
          const line = o.down && event.state !== 'fail' ? undefined : shown(event);
          if (line !== undefined) console.log(line);
        },
      });
if (!setup.ready) fail(setup.reason ?? 'the set-up failed; see .lab/setup.log');
if (lab && setup.lab === undefined)
  fail(`the lab can't run here: ${setup.labReason}. Without it: npm run quickstart -- --simulate`);

const { quickstart, down } = await import('./dist/quickstart.js');
try {
  if (o.down) {
    await down(o.name, (line) => console.log(line));
    await stopOwnEngine({ socketPath: await dockerSocket(process.env.DOCKER_HOST), stateDir: stateDirectory() });
  } else
    await quickstart({
      name: o.name,
      hosts: o.hosts,
      simulate: o.simulate,
      guestImage: setup.lab?.guestImage,
    });
  process.exit(0);
} catch (e) {
  fail(
    e.code === 'EACCES'
      ? `can't write ${e.path}. Run it as the user who owns this checkout`
      : e instanceof Error
        ? e.message
        : String(e),
  );
}
