/** Text that others wrote, made safe to show: nothing in it moves a cursor, rings, or turns the direction of reading. */

/** Control characters but for tab and line feed, and the marks that reorder text. */
const UNSAFE = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

export const safeText = (text: string): string => text.replace(UNSAFE, '');

/** On one line, at most so many letters: for what strangers say of themselves. */
export const oneLine = (text: string, chars: number): string =>
  safeText(text.slice(0, 4 * chars).replace(/[\t-\r\x85\u2028\u2029]+/g, ' '))
    .slice(0, chars)
    .trim();
