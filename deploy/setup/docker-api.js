/**
 * The few calls to the Docker engine that set-up needs, over its UNIX socket: no docker command, no dependency.
 * Starting and breaking lab hosts is the business of lab.ts.
 */
import { accessSync, constants } from 'node:fs';
import http from 'node:http';
import { SetupError } from './process.js';

const DEFAULT_SOCKET = '/var/run/docker.sock';

/** The engine's socket. Only a local engine can mount the checkout, so an engine elsewhere is refused. */
export function dockerSocket(dockerHost) {
  if (dockerHost === undefined || dockerHost === '') return DEFAULT_SOCKET;
  if (dockerHost.startsWith('unix://')) return dockerHost.slice('unix://'.length);
  throw new SetupError(`DOCKER_HOST is ${dockerHost}, but the lab needs a Docker engine on this machine (unix://…)`);
}

/** One request; `body` is JSON, or a stream that is sent as it is. Answers { status, text }. */
export function call(socketPath, method, path, body, timeoutMs = 0) {
  return new Promise((resolve, reject) => {
    const streamed = body !== undefined && typeof body.pipe === 'function';
    const headers = body === undefined ? {} : { 'Content-Type': streamed ? 'application/x-tar' : 'application/json' };
    const request = http.request({ socketPath, method, path, headers, timeout: timeoutMs }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error('the Docker engine does not answer')));
    request.on('error', reject);
    if (streamed) body.on('error', reject).pipe(request);
    else request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

export async function engineAnswers(socketPath) {
  try {
    return (await call(socketPath, 'GET', '/_ping', undefined, 5000)).status === 200;
  } catch {
    return false;
  }
}

/** Why an engine that does not answer can't be used by somebody who may not start one. */
export function whyNoEngine(socketPath) {
  try {
    accessSync(socketPath, constants.W_OK);
  } catch (error) {
    if (error.code === 'EACCES')
      return `this user may not use the Docker engine (${socketPath}): ask for its group, docker`;
  }
  return 'only root can start a Docker engine, and none answers';
}

export async function imageExists(socketPath, tag) {
  return (await call(socketPath, 'GET', `/images/${encodeURIComponent(tag)}/json`)).status === 200;
}

/** Makes an image from a tar stream. */
export async function importImage(socketPath, tag, tar, changes) {
  const [repo, version] = tag.split(':');
  const query = new URLSearchParams({ fromSrc: '-', repo, tag: version });
  for (const change of changes) query.append('changes', change);
  const { status, body } = await call(socketPath, 'POST', `/images/create?${query}`, tar);
  const text = body.toString();
  if (status !== 200 || text.includes('"error"'))
    throw new SetupError(`docker import failed: ${text.trim().slice(-300)}`);
}

/** Tags of the images of one repository. */
export async function listTags(socketPath, repo) {
  const filters = encodeURIComponent(JSON.stringify({ reference: [repo] }));
  const { body } = await call(socketPath, 'GET', `/images/json?filters=${filters}`);
  return JSON.parse(body.toString()).flatMap((image) => image.RepoTags ?? []);
}

export async function removeImage(socketPath, tag) {
  await call(socketPath, 'DELETE', `/images/${encodeURIComponent(tag)}`);
}

/** Runs a container to its end and removes it. Answers { code, output }. */
export async function runContainer(socketPath, spec) {
  const created = await call(socketPath, 'POST', '/containers/create', { ...spec, Tty: true });
  if (created.status !== 201) throw new SetupError(`docker create failed: ${created.body.toString().trim()}`);
  const id = JSON.parse(created.body.toString()).Id;
  try {
    const started = await call(socketPath, 'POST', `/containers/${id}/start`);
    if (started.status !== 204) throw new SetupError(`docker start failed: ${started.body.toString().trim()}`);
    const ended = await call(socketPath, 'POST', `/containers/${id}/wait`);
    const logs = await call(socketPath, 'GET', `/containers/${id}/logs?stdout=1&stderr=1`);
    return { code: JSON.parse(ended.body.toString()).StatusCode, output: logs.body.toString() };
  } finally {
    await call(socketPath, 'DELETE', `/containers/${id}?force=1&v=1`);
  }
}
