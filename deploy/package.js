/**
 * `npm run package`: makes the checkout ready (setup.js), then hands over to the bundled maker of packages. Plain JavaScript
 * without dependencies, because on a fresh machine there are none yet.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ensureSetup } from './setup.js';
import { missingTools } from './setup/apt.js';
import { phaseLine } from './setup/phases.js';
import { findRoot } from './setup/root.js';

const USAGE = `npm run package                         .deb files of the controller, the agent, the command line and Node
npm run package -- --out DIR            where to put them (default: deploy/dist/packages)
npm run package -- --version VERSION    in place of the one that the commit tells
npm run package -- --only NAME …        berth-runtime, berth, berth-controller, berth-agent
npm run package -- --compress KIND      xz (default), gzip or none: larger, and faster to make`;

function fail(line, code = 1) {
  console.error(`package: ${line}`);
  process.exit(code);
}

function options(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        out: { type: 'string' },
        version: { type: 'string' },
        only: { type: 'string', multiple: true },
        compress: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    return values;
  } catch (error) {
    return fail(`${error.message}. Known are:\n${USAGE}`, 2);
  }
}

const o = options(process.argv.slice(2));
if (o.help) {
  console.log(USAGE);
  process.exit(0);
}
const compression = o.compress ?? 'xz';
if (!['xz', 'gzip', 'none'].includes(compression)) fail(`--compress ${compression}: xz, gzip or none is expected`, 2);
if (o.version !== undefined && !/^\d[0-9A-Za-z.+~]*$/.test(o.version))
  fail(`--version ${o.version} is no version: digits first, then letters, digits, and . + ~`, 2);
if (missingTools([{ package: 'dpkg', command: 'dpkg-deb' }], process.env.PATH ?? '').length > 0)
  fail('dpkg-deb is missing: packages are made on Debian or Ubuntu');

const setup = await ensureSetup({
  lab: false,
  say: (event) => (event.ms === 0 && event.state === 'done' ? undefined : console.log(phaseLine(event))),
});
if (!setup.ready) fail(setup.reason ?? 'the set-up failed; see .lab/setup.log');
const { makePackages, PACKAGE_NAMES } = await import('./dist/package.js');
const unknown = (o.only ?? []).find((name) => !PACKAGE_NAMES.includes(name));
if (unknown !== undefined) fail(`there is no package ${unknown}. There are: ${PACKAGE_NAMES.join(', ')}`, 2);
const root = findRoot();
const outDir = path.resolve(o.out ?? path.join(root, 'deploy/dist/packages'));
try {
  await makePackages(
    { root, outDir, compression, only: o.only ?? [], ...(o.version === undefined ? {} : { version: o.version }) },
    (line) => console.log(line),
  );
  console.log(`Install: apt install ${outDir}/…`);
} catch (error) {
  fail(error.message);
}
