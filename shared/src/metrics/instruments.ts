/** Counters and histograms that grow while a process lives. Bounded: what comes when there are enough series counts as `other`. */
import { label, labels, type Exposition, type Families } from './exposition.ts';

const MOST_SERIES = 500;
const OTHER = 'other';

/** The series of a metric by their labels. */
class Series<V> {
  readonly all = new Map<string, { readonly of: string; readonly value: V }>();

  constructor(
    private readonly names: readonly string[],
    private readonly make: () => V,
    private readonly most: number,
  ) {}

  of(values: readonly string[]): V {
    const key = values.length === 1 ? (values[0] as string) : values.join('\0');
    const known = this.all.get(key);
    if (known !== undefined) return known.value;
    const other = this.names.map(() => OTHER);
    if (this.all.size >= this.most && key !== other.join('\0')) return this.of(other);
    const value = this.make();
    this.all.set(key, { of: labels(this.names, values), value });
    return value;
  }
}

export class Counter {
  readonly #series: Series<{ n: number }>;

  constructor(names: readonly string[] = [], most = MOST_SERIES) {
    this.#series = new Series(names, () => ({ n: 0 }), most);
  }

  add(n: number, ...values: readonly string[]): void {
    this.#series.of(values).n += n;
  }

  write<F extends Families>(to: Exposition<F>, name: keyof F & string): void {
    for (const { of, value } of this.#series.all.values()) to.add(name, value.n, of);
  }
}

interface Buckets {
  readonly counts: number[];
  sum: number;
}

/** From a millisecond to half a minute. */
export const SECONDS: readonly number[] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 30];

export class Histogram {
  readonly #series: Series<Buckets>;

  constructor(
    names: readonly string[] = [],
    private readonly bounds: readonly number[] = SECONDS,
    most = MOST_SERIES,
  ) {
    this.#series = new Series(names, () => ({ counts: bounds.map(() => 0).concat(0), sum: 0 }), most);
  }

  observe(value: number, ...values: readonly string[]): void {
    const series = this.#series.of(values);
    const at = this.bounds.findIndex((b) => value <= b);
    const i = at < 0 ? this.bounds.length : at;
    series.counts[i] = (series.counts[i] ?? 0) + 1;
    series.sum += value;
  }

  write<F extends Families>(to: Exposition<F>, name: keyof F & string): void {
    for (const { of, value } of this.#series.all.values()) {
      const before = of === '' ? '' : `${of},`;
      let count = 0;
      value.counts.forEach((n, i) => {
        count += n;
        const le = this.bounds[i];
        to.part(name, '_bucket', count, before + label('le', le === undefined ? '+Inf' : String(le)));
      });
      to.part(name, '_sum', value.sum, of);
      to.part(name, '_count', count, of);
    }
  }
}
