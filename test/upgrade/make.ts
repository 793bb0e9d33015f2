/** `npm run fixture`: run once at each release; writes test/upgrade/<version>, to be committed with it. */
import { join } from 'node:path';
import { findRoot } from '@berth/deploy/setup/root.js';
import { VERSION } from '@berth/shared/version.ts';
import { makeFixture } from './fixture.ts';

const dir = join(findRoot(), 'test', 'upgrade', VERSION);
await makeFixture(dir, VERSION);
process.stdout.write(`made ${dir}: commit it with the release, and never change it\n`);
process.exit(0);
