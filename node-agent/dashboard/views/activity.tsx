/** What it does: saves, uploads, sizes and durations over an hour, a day, 30 days. */
import { useMemo, useState } from 'preact/hooks';
import { api, type Range, type Span } from '../api.ts';
import { bytes, count, counted, duration } from '../format.ts';
import { useLoaded } from '../hooks.ts';
import { Chart, type Series } from '../parts/chart.tsx';
import { Shown } from '../parts/state.tsx';

const RANGES: readonly (readonly [Range, string])[] = [
  ['hour', 'Hour'],
  ['day', 'Day'],
  ['month', '30 days'],
];

export function ActivityView() {
  const [range, setRange] = useState<Range>('day');
  const activity = useLoaded(() => api.activity(range), [range], { live: true });
  return (
    <>
      <div class="head">
        <h1>Activity</h1>
        <fieldset class="choice">
          <legend class="unseen">The last</legend>
          {RANGES.map(([name, label]) => (
            <label key={name}>
              <input
                type="radio"
                name="range"
                checked={range === name}
                onChange={() => setRange(name)}
              />
              <span>{label}</span>
            </label>
          ))}
        </fieldset>
      </div>
      <Shown loaded={activity}>{({ items }) => <Charts spans={items} />}</Shown>
    </>
  );
}

const mean = (sum: number, number: number) => (number === 0 ? null : sum / number);

const COUNTS: Series[] = [
  { label: 'saves', of: (span) => span.saves, kind: 'bars', colour: 'main' },
  { label: 'deletions', of: (span) => span.deletions, kind: 'dots', colour: 'second' },
];
const UPLOADS: Series[] = [
  { label: 'uploads', of: (span) => span.uploads, kind: 'bars', colour: 'main' },
  { label: 'given up', of: (span) => span.failures, kind: 'dots', colour: 'bad' },
];
const SIZES: Series[] = [
  { label: 'saved', of: (span) => span.saved_bytes, kind: 'bars', colour: 'main' },
  { label: 'sent', of: (span) => span.uploaded_bytes, kind: 'line', colour: 'second' },
];
const DURATIONS: Series[] = [
  { label: 'a save', of: (span) => mean(span.save_ms, span.saves), kind: 'line', colour: 'main' },
  {
    label: 'an upload',
    of: (span) => mean(span.upload_ms, span.uploads),
    kind: 'line',
    colour: 'second',
  },
];

function Charts({ spans }: { spans: Span[] }) {
  const sum = useMemo(() => {
    const total = (of: (span: Span) => number) => spans.reduce((all, span) => all + of(span), 0);
    return {
      saves: total((span) => span.saves),
      deletions: total((span) => span.deletions),
      uploads: total((span) => span.uploads),
      failures: total((span) => span.failures),
      saved: total((span) => span.saved_bytes),
      sent: total((span) => span.uploaded_bytes),
      longest: Math.max(0, ...spans.map((span) => span.longest_save_ms)),
      longestUpload: Math.max(0, ...spans.map((span) => span.longest_upload_ms)),
    };
  }, [spans]);
  return (
    <div class="charts">
      <Chart
        title="Saves"
        summary={`${counted(sum.saves, 'save')}, ${counted(sum.deletions, 'deletion')}`}
        spans={spans}
        series={COUNTS}
        format={count}
      />
      <Chart
        title="Uploads"
        summary={
          <>
            {counted(sum.uploads, 'upload')},{' '}
            <span class={sum.failures > 0 ? 'trouble' : undefined}>
              {count(sum.failures)} given up
            </span>
          </>
        }
        spans={spans}
        series={UPLOADS}
        format={count}
      />
      <Chart
        title="Sizes"
        summary={`${bytes(sum.saved)} saved, ${bytes(sum.sent)} sent`}
        spans={spans}
        series={SIZES}
        format={bytes}
      />
      <Chart
        title="Mean durations"
        summary={`the longest save ${duration(sum.longest)}, the longest upload ${duration(sum.longestUpload)}`}
        spans={spans}
        series={DURATIONS}
        format={duration}
      />
    </div>
  );
}
