/**
 * Builds the image of a lab host, and that of a server of Ceph, into the Docker engine, once per recipe. Starting hosts from it is lab.ts's business.
 */
import { spawn } from 'node:child_process';
import { call, imageExists, importImage, listTags, removeImage } from '../setup/docker-api.js';
import { SetupError, lastWords, run } from '../setup/process.js';
import {
  CEPH_CHANGES,
  CEPH_IMAGE,
  HOST_IMAGE,
  IMAGE_CHANGES,
  cephArguments,
  cephImageTag,
  hostImageTag,
  mirrorLines,
  mmdebstrapArguments,
} from './recipe.js';

export const IMAGE_TOOLS = [{ package: 'mmdebstrap', command: 'mmdebstrap' }];

export async function hostImageExists(socketPath) {
  return imageExists(socketPath, hostImageTag());
}

export async function cephImageExists(socketPath) {
  return imageExists(socketPath, cephImageTag());
}

export const buildHostImage = async (socketPath) =>
  buildImage(socketPath, {
    ...{ name: HOST_IMAGE, tag: hostImageTag(), changes: IMAGE_CHANGES },
    arguments: mmdebstrapArguments(await ownMirrors()),
  });

export const buildCephImage = async (socketPath) =>
  buildImage(socketPath, {
    ...{ name: CEPH_IMAGE, tag: cephImageTag(), changes: CEPH_CHANGES },
    arguments: cephArguments(await ownMirrors()),
  });

/** Builds the image; images of older recipes are removed unless a container uses them. Answers its tag. */
async function buildImage(socketPath, recipe) {
  const { name, tag } = recipe;
  const child = spawn('mmdebstrap', recipe.arguments, { stdio: ['ignore', 'pipe', 'pipe'] });
  let words = '';
  child.stderr.on('data', (chunk) => (words += chunk));
  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code) => resolve(code === 0 ? undefined : lastWords(words)));
  });
  // The tar goes to a name of its own first: half an image must never carry the recipe's tag.
  const unfinished = `${name}:building-${process.pid}`;
  const imported = importImage(socketPath, unfinished, child.stdout, recipe.changes).catch((error) => error);
  const failure = await ended;
  const refused = await imported;
  if (failure !== undefined) {
    await removeImage(socketPath, unfinished);
    throw new SetupError(`mmdebstrap failed: ${failure}`);
  }
  if (refused instanceof Error) throw refused;
  await promote(socketPath, unfinished, tag);
  return tag;
}

async function promote(socketPath, unfinished, tag) {
  const [repo, version] = tag.split(':');
  await call(socketPath, 'POST', `/images/${encodeURIComponent(unfinished)}/tag?repo=${repo}&tag=${version}`);
  for (const old of await listTags(socketPath, repo)) if (old !== tag) await removeImage(socketPath, old);
}

/** The mirrors this machine uses for the same suite; none on another distribution, and then mmdebstrap has its own. */
export async function ownMirrors() {
  const format = '$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)';
  const { stdout } = await run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  return mirrorLines(stdout);
}
