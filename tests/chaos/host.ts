import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { StorageEvent } from '../../node-agent/events/events.ts';
import { type FaultProxy, openFaultProxy } from '../support/fault-proxy.ts';
import { builtProgram } from '../support/run.ts';
import type { Command, Settings } from './child.ts';

/** What became of a command: `dead` where the host was killed, so that nobody knows. */
export type Result = { value: unknown } | { failure: string; message?: string } | 'dead';

/** A host that can be killed and paused, on a way to the cloud on which things go wrong. */
export class ChaosHost {
  readonly name: string;
  readonly proxy: FaultProxy;
  /** `project version` of what it was told of. */
  readonly told = new Set<string>();
  /** The same, without what was deleted elsewhere. */
  readonly conflicts = new Set<string>();
  readonly #settings: Settings;
  #child!: ChildProcess;
  #ready!: Promise<void>;
  #next = 1;
  readonly #waiting = new Map<number, (result: Result) => void>();

  private constructor(name: string, proxy: FaultProxy, settings: Settings) {
    this.name = name;
    this.proxy = proxy;
    this.#settings = settings;
    this.#start();
  }

  static async start(
    name: string,
    cloudUrl: string,
    settings: Omit<Settings, 'url'>,
  ): Promise<ChaosHost> {
    const proxy = await openFaultProxy(cloudUrl);
    return new ChaosHost(name, proxy, { ...settings, url: proxy.url });
  }

  #start(): void {
    const child = fork(builtProgram('tests/chaos/child'), [JSON.stringify(this.#settings)], {
      stdio: 'inherit',
    });
    this.#child = child;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ready = promise;
    child.on('message', (message: { ready?: true; event?: StorageEvent; id?: number } & object) => {
      if (message.ready) resolve();
      if (message.event) this.#note(message.event);
      if (message.id === undefined) return;
      this.#waiting.get(message.id)?.(message as Result);
      this.#waiting.delete(message.id);
    });
    child.on('exit', () => {
      if (child !== this.#child) return;
      for (const end of this.#waiting.values()) end('dead');
      this.#waiting.clear();
    });
  }

  #note(event: StorageEvent): void {
    const isConflict =
      event.kind === 'generation.conflict' ||
      event.kind === 'generation.lost' ||
      event.kind === 'generation.renumbered';
    const isDeleted = event.kind === 'generation.deleted' && event.where === 'cloud';
    if (!isConflict && !isDeleted) return;
    const name = `${event.projectId} ${event.version}`;
    this.told.add(name);
    if (isConflict) this.conflicts.add(name);
  }

  async send(command: Command): Promise<Result> {
    await this.#ready;
    const id = this.#next++;
    const { promise, resolve } = Promise.withResolvers<Result>();
    this.#waiting.set(id, resolve);
    this.#child.send({ id, command }, (error) => {
      if (error !== null && this.#waiting.delete(id)) resolve('dead');
    });
    return promise;
  }

  /** Kills it as a power button would its process, and starts it again. */
  async kill(): Promise<void> {
    const child = this.#child;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    this.#start();
  }

  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  resume(): void {
    this.#child.kill('SIGCONT');
  }

  async close(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
    this.proxy.close();
  }
}
