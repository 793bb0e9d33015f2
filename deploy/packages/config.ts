/** What `npm run package` reads from the environment: only the time stamp that all files get, as other builders of packages do. */

/** Seconds since 1970 of SOURCE_DATE_EPOCH, or undefined; anything but digits counts as not set. */
export function sourceDateEpoch(): number | undefined {
  const text = process.env['SOURCE_DATE_EPOCH'] ?? '';
  return /^\d{1,12}$/.test(text) ? Number(text) : undefined;
}
