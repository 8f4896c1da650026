/** A line of progress on a terminal, written over itself; nothing elsewhere. */
export class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #isOn: boolean;
  #label = '';
  #began = 0;
  #shownAt = 0;
  #isShown = false;

  constructor(stream: NodeJS.WriteStream, isWanted: boolean) {
    this.#stream = stream;
    this.#isOn = isWanted && stream.isTTY === true;
  }

  /** @param label what is counted; a new one begins to count anew */
  show(label: string, done: number, total: number): void {
    if (!this.#isOn) return;
    const now = performance.now();
    if (label !== this.#label) {
      this.#label = label;
      this.#began = now;
    } else if (now - this.#shownAt < INTERVAL_MS && done < total) return;
    this.#shownAt = now;
    this.#isShown = true;
    const text = formatProgress(label, done, total, now - this.#began);
    // A line that goes over the edge could not be written over.
    this.#stream.write(`\r\u001b[K${text.slice(0, (this.#stream.columns || WIDE) - 1)}`);
  }

  /** Takes the line away, before anything else is said. */
  clear(): void {
    if (this.#isShown) this.#stream.write('\r\u001b[K');
    this.#isShown = false;
  }
}

const INTERVAL_MS = 100;
/** Columns of a terminal that does not say how many it has. */
const WIDE = 80;
const WIDTH = 24;

/** `upload  [######------]  50 %  5/10  2.5/s  2 s left` */
export function formatProgress(label: string, done: number, total: number, ms: number): string {
  const share = total === 0 ? 1 : done / total;
  const filled = Math.round(share * WIDTH);
  const bar = `[${'#'.repeat(filled)}${'-'.repeat(WIDTH - filled)}]`;
  const rate = ms > 0 ? done / (ms / 1000) : 0;
  const left = rate > 0 ? `${formatSeconds((total - done) / rate)} left` : '';
  return `${label.padEnd(7)} ${bar} ${String(Math.floor(share * 100)).padStart(3)} %  ${done}/${total}  ${rate.toFixed(1)}/s  ${left}`.trimEnd();
}

function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
