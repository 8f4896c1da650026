/** What two hosts and a web user do at once, with one generation. */

/** Contents by name. */
export type Content = 'X' | 'Y' | 'Z';

export type Step =
  | { do: 'save' | 'replace'; content: Content }
  /** A host deletes it, or undoes that; the web user does. */
  | { do: 'delete' | 'undelete' }
  /** A host brings to the cloud what it owes; takes what is there out of its store; gets it. */
  | { do: 'sync' | 'evict' | 'get' }
  /** A host follows what others changed. */
  | { do: 'learn' };

/** What each does, one thing after another. Those of one host run beside each other. */
export type Scenario = Readonly<{
  name: string;
  /** Orders in which something was lost once, as a failure prints them. */
  found?: readonly string[];
  actors: Readonly<Record<'a' | 'a2' | 'b' | 'b2' | 'web', readonly Step[]>>;
}>;

const save = (content: Content): Step => ({ do: 'save', content });
const replace = (content: Content): Step => ({ do: 'replace', content });
const sync: Step = { do: 'sync' };
const evict: Step = { do: 'evict' };
const get: Step = { do: 'get' };
const learn: Step = { do: 'learn' };
const del: Step = { do: 'delete' };
const undelete: Step = { do: 'undelete' };

const idle = { a: [], a2: [], b: [], b2: [], web: [] } as const;

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'a replacement by another host',
    actors: {
      ...idle,
      a: [save('X'), sync, sync],
      b: [save('X'), replace('Y'), sync, sync, evict, get],
    },
  },
  {
    name: 'the same content from two hosts, deleted by the user',
    actors: { ...idle, a: [save('X'), sync, learn, get], b: [save('X'), sync, sync], web: [del] },
  },
  {
    name: 'two replacements at once',
    actors: {
      ...idle,
      a: [save('X'), sync, replace('Y'), sync, sync, evict, get],
      b: [save('X'), sync, replace('Z'), sync, sync, evict, get],
    },
  },
  {
    name: 'a replacement, and the deletion of it',
    actors: {
      ...idle,
      a: [save('X'), sync, replace('Y'), sync, del, sync],
      b: [save('X'), sync, learn, sync, get],
    },
  },
  {
    name: 'evicted, and replaced elsewhere',
    actors: {
      ...idle,
      a: [save('X'), sync, evict, learn, get],
      b: [save('X'), replace('Y'), sync, sync],
      web: [del],
    },
  },
  {
    name: 'two contents under one name, each deleted',
    actors: {
      ...idle,
      a: [save('X'), sync, del, sync],
      b: [save('Y'), sync, del, sync],
    },
  },
  {
    name: 'a host that changes its mind while it uploads',
    // Deleted while what was replaced before that is on its way.
    found: ['2.1 5.2'],
    actors: {
      ...idle,
      a: [save('X'), replace('Y'), replace('X'), del],
      a2: [sync, sync, sync],
      b: [save('X'), sync, learn, get],
    },
  },
  {
    name: 'replaced back and forth',
    actors: {
      ...idle,
      a: [save('X'), sync, replace('Y'), sync, replace('X'), sync, evict, get],
      b: [save('X'), sync, learn, replace('Z'), sync],
    },
  },
  {
    name: 'deleted and undone on one host',
    actors: {
      ...idle,
      a: [save('X'), sync, del, undelete, sync, get],
      b: [save('X'), sync, learn, get],
    },
  },
  {
    name: 'deleted and undone by the user',
    actors: {
      ...idle,
      a: [save('X'), sync, learn, get],
      b: [save('X'), sync, learn, get],
      web: [del, undelete],
    },
  },
  {
    name: 'deleted on one host, undone on another',
    actors: {
      ...idle,
      a: [save('X'), sync, del, sync],
      b: [save('X'), sync, learn, undelete, sync],
    },
  },
];
