/** User-data for cloud-init, as a person gives it: a word of warning where no guest will heed it. */
import { note, type Context } from '../core/context.ts';

/** What cloud-init looks for at the beginning; anything else it passes over, and says so in the guest's log alone. */
const KNOWN =
  /^\uFEFF?(#!|#cloud-(config|config-archive|boothook)\b|#include|#part-handler|## template:|Content-Type:|MIME-Version:|From )/i;

export const isUserData = (text: string): boolean => text.trim() === '' || KNOWN.test(text);

/** Once, of however many. */
export function warnOfUserData(ctx: Context, texts: readonly string[]): void {
  if (!texts.every(isUserData))
    note(ctx, 'user-data begins with nothing that cloud-init knows (#cloud-config, #!/bin/sh): it will pass over it');
}
