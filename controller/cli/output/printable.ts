/**
 * What a guest wrote, made safe for the terminal of a person: colours stay; what would move the cursor, ask the terminal for
 * answers (which it would type into the shell) or change its settings is left out. Files and pipes get the bytes as they are.
 */

const COLOUR = /^\x1b\[[\d;]*m$/;
const SEQUENCE =
  /\x1b\[[\d;?<=>!"' ]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()*+#%].|\x1b[^[\]PX^_()*+#%]/gs;
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]/g;
/** A sequence that is not complete yet. No terminal needs longer ones. */
const BEGUN = /\x1b[^\x1b]{0,200}$/s;

/** Takes pieces as they come, letters and sequences cut anywhere; gives the text to print. */
export function printable(): (piece: Uint8Array) => string {
  const decoder = new TextDecoder();
  let rest = '';
  return (piece) => {
    const text = (rest + decoder.decode(piece, { stream: true })).replace(SEQUENCE, (s) =>
      COLOUR.test(s) ? `\0${s}` : '',
    );
    // Complete colours carry a mark, so that only what is incomplete is kept for the next piece.
    const begun = text.search(BEGUN);
    const cut = begun < 0 || text[begun - 1] === '\0' ? text.length : begun;
    rest = text.slice(cut);
    return text
      .slice(0, cut)
      .replace(CONTROL, '')
      .replaceAll(/\x1b(?!\[[\d;]*m)/g, '');
  };
}
