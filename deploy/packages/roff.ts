/** Writes the few requests of man(7) that our pages need, and keeps every text from being taken for a request. Pure. */

export interface Page {
  section(title: string): Page;
  subsection(title: string): Page;
  synopsis(program: string, rest: string): Page;
  text(words: string): Page;
  item(term: string, words: string): Page;
  /** As it stands, line by line. */
  verbatim(text: string): Page;
  end(): string;
}

/** Neither an escape nor a request; hyphens are those that people type. */
export const plain = (text: string): string =>
  text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/…/g, '...')
    .replace(/^([.'])/gm, '\\&$1');

const MONTH = (epoch: number): string => new Date(epoch * 1000).toISOString().slice(0, 10);

/** @param summary what `whatis` shows: no full stop. */
export function roff(
  name: string,
  section: number,
  summary: string,
  dated: { readonly version: string; readonly epoch: number },
): Page {
  const lines = [
    `.TH "${plain(name.toUpperCase())}" "${section}" "${MONTH(dated.epoch)}" "Berth ${plain(dated.version.replace(/\+.*/, ''))}" "Berth"`,
    ...['.nh', '.ad l', '.SH NAME', `${plain(name)} \\- ${plain(summary)}`],
  ];
  const page: Page = {
    section: (title) => add(`.SH "${title}"`),
    subsection: (title) => add(`.SS "${plain(title).replace(/"/g, '\\(dq')}"`),
    synopsis: (program, rest) => add(`.B ${plain(program)}`, plain(rest)),
    text: (words) => add('.PP', plain(words)),
    item: (term, words) => add('.TP', `.B ${plain(term).replace(/"/g, '\\(dq')}`, plain(words)),
    verbatim: (text) => add('.PP', '.nf', ...text.trimEnd().split('\n').map(plain), '.fi'),
    end: () => `${lines.join('\n')}\n`,
  };
  const add = (...more: string[]): Page => {
    lines.push(...more);
    return page;
  };
  return page;
}
