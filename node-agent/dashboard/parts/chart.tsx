import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import UPlot from 'uplot';
import type { Span } from '../api.ts';
import { Scroll } from './scroll.tsx';

/** What is drawn of each span. */
export type Series = Readonly<{
  label: string;
  of: (span: Span) => number | null;
  /** Dots are for what is mostly nothing: that is not drawn. */
  kind: 'bars' | 'line' | 'dots';
  colour: 'main' | 'second' | 'bad';
}>;

type Props = Readonly<{
  title: string;
  /** What it comes to, in a sentence: for who does not see the chart. */
  summary: ComponentChildren;
  spans: readonly Span[];
  series: readonly Series[];
  format: (value: number) => string;
}>;

const HEIGHT = 180;
/** What is counted has no half. */
const WHOLE = [1, 2, 5]
  .flatMap((n) => Array.from({ length: 12 }, (_, i) => n * 10 ** i))
  .sort((a, b) => a - b);

/** A chart over time, and the same as a table. */
export function Chart({ title, summary, spans, series, format }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const isEmpty = !spans.some((span) => series.some(({ of }) => of(span)));
  useEffect(
    () => (isEmpty ? undefined : draw(place.current!, { spans, series, format })),
    [spans, series, format, isEmpty],
  );
  return (
    <figure class="chart">
      <figcaption>
        <h2>{title}</h2>
        <p>{summary}</p>
      </figcaption>
      {isEmpty && <p class="quiet empty">Nothing in this time.</p>}
      <div
        ref={place}
        class="plot"
        hidden={isEmpty}
        role="img"
        aria-label={`${title}, as a chart. The same is below as a table`}
      />
      <details>
        <summary>As a table</summary>
        <Scroll label={`${title}, as a table`}>
          <table>
            <thead>
              <tr>
                <th scope="col">From</th>
                {series.map(({ label }) => (
                  <th scope="col" key={label}>
                    {label}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {spans
                .filter((span) => series.some(({ of }) => of(span)))
                .map((span) => (
                  <tr key={span.from}>
                    <th scope="row">{new Date(span.from).toLocaleString()}</th>
                    {series.map(({ label, of }) => (
                      <td key={label}>{format(of(span) ?? 0)}</td>
                    ))}
                  </tr>
                ))}
            </tbody>
          </table>
        </Scroll>
      </details>
    </figure>
  );
}

/** @returns what takes it away */
function draw(
  place: HTMLElement,
  { spans, series, format }: Pick<Props, 'spans' | 'series' | 'format'>,
): () => void {
  let plot: UPlot | null = null;
  const data: UPlot.AlignedData = [
    spans.map(({ from }) => Date.parse(from) / 1000),
    ...series.map(({ of, kind }) =>
      spans.map((span) => of(span) || (kind === 'dots' ? null : of(span))),
    ),
  ];
  const isWhole = spans.every((span) => series.every(({ of }) => Number.isInteger(of(span) ?? 0)));
  const [first = 0, second = 0] = data[0];
  const step = second - first;
  const make = () => {
    plot?.destroy();
    const style = getComputedStyle(place);
    // A canvas does not know what light-dark() is: an element says which of the two it is now.
    const colour = (name: string) => {
      place.style.color = `var(--${name})`;
      return getComputedStyle(place).color;
    };
    const axis = {
      stroke: colour('quiet'),
      grid: { stroke: colour('line'), width: 1 },
      ticks: { show: false },
      font: `12px ${style.fontFamily}`,
    };
    const bars = UPlot.paths.bars!({ size: [0.7, 28], radius: 0.15 });
    plot = new UPlot(
      {
        width: place.clientWidth,
        height: HEIGHT,
        padding: [8, 8, 0, 0],
        cursor: { y: false, points: { show: false } },
        legend: { live: true },
        scales: {
          // The first and the last bar have their room.
          x: { range: (_, min, max) => [min - step / 2, max + step / 2] },
          y: { range: (_, _min, max) => [0, Math.max(1, max * 1.1)] },
        },
        axes: [
          axis,
          {
            ...axis,
            size: 64,
            ...(isWhole ? { incrs: WHOLE } : {}),
            values: (_, values) => values.map(format),
          },
        ],
        series: [
          { value: (_, at) => (at === null ? '–' : new Date(at * 1000).toLocaleString()) },
          ...series.map(({ label, kind, colour: name }) => ({
            label,
            stroke: colour(name),
            width: kind === 'line' ? 2 : 0,
            // One alone is no line.
            points:
              kind === 'bars'
                ? { show: false }
                : { show: true, size: kind === 'dots' ? 8 : 5, fill: colour(name) },
            value: (_: UPlot, value: number | null) => (value === null ? '–' : format(value)),
            ...(kind === 'bars' ? { fill: colour(name), paths: bars } : { spanGaps: false }),
          })),
        ],
      },
      data,
      place,
    );
  };
  const fit = new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height: HEIGHT }));
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  make();
  fit.observe(place);
  scheme.addEventListener('change', make);
  return () => {
    scheme.removeEventListener('change', make);
    fit.disconnect();
    plot?.destroy();
  };
}
