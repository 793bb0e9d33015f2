/**
 * Starts processes for the set-up scripts, before any dependency is installed. Everything after `npm ci` uses execa.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';

/** The line of a tool's output that says most, for one-line reasons: npm's first complaint, otherwise the last one. */
export function lastWords(text) {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const npm = lines.find((line) => /^npm error (?!code |errno |path |A complete log)\S/.test(line));
  const telling = lines.filter((line) =>
    /^(E:|error|fatal|failed)|: error:|failed to|unknown (flag|option)/i.test(line),
  );
  return (npm ?? telling.at(-1) ?? lines.at(-1) ?? 'no output').slice(0, 300);
}

/** Runs a program to its end. Never throws for a failing program: look at `code`. */
export function run(file, args, { cwd, env, log } = {}) {
  return new Promise((resolve) => {
    const started = spawn(file, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    const keep = (chunk) => log !== undefined && appendTo(log, chunk);
    started.stdout.on('data', (chunk) => ((stdout += chunk), keep(chunk)));
    started.stderr.on('data', (chunk) => ((stderr += chunk), keep(chunk)));
    started.on('error', (error) => resolve({ code: 127, stdout, stderr: `${file}: ${error.message}` }));
    started.on('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}

/** A failure that is meant to be read: one line, no stack. */
export class SetupError extends Error {}

/** Runs a program and throws a SetupError with its last words when it fails. */
export async function runOrFail(what, file, args, options = {}) {
  const result = await run(file, args, options);
  if (result.code === 0) return result;
  const where = options.log === undefined ? '' : ` (log: ${options.log})`;
  throw new SetupError(`${what} failed: ${lastWords(`${result.stdout}\n${result.stderr}`)}${where}`);
}

function appendTo(log, chunk) {
  mkdirSync(path.dirname(log), { recursive: true });
  appendFileSync(log, chunk);
}
