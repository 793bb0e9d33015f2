/**
 * Whether the lab can run right now: nothing is installed, started or built here. setup.js does that.
 */
import { existsSync } from 'node:fs';
import { dockerSocket, engineAnswers, imageExists } from '../setup/docker-api.js';
import { dockerHost } from './config.ts';
import { labObstacle } from './obstacle.js';
import { guestImagePath, hostImageTag } from './recipe.js';

/** One line for people, or undefined when the lab is ready. */
export async function labUnready(): Promise<string | undefined> {
  const obstacle = labObstacle();
  if (obstacle !== undefined) return obstacle;
  try {
    const socket = dockerSocket(dockerHost());
    if (!(await engineAnswers(socket))) return `no Docker engine answers on ${socket} (npm test starts one)`;
    if (!(await imageExists(socket, hostImageTag()))) return 'the host image is not built (npm test builds it)';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return existsSync(guestImagePath()) ? undefined : 'the guest image is not built (npm test builds it)';
}
