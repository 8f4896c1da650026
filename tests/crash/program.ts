/**
 * What is killed: does one thing with a storage, as its arguments say, and prints the receipt the
 * moment it has it, then how many steps of I/O all took.
 */
import { writeSync } from 'node:fs';
import { openStorage, readConfig } from '../../node-agent/index.ts';
import { CONTENTS, refIn, type Scenario } from './scenarios.ts';

const scenario = process.argv[2] as Scenario;
const ref = refIn(process.argv[3]!);
const print = (value: unknown) => writeSync(1, `${JSON.stringify(value)}\n`);

const storage = await openStorage({ ...readConfig(process.env), random: () => 0 });
switch (scenario) {
  case 'first save':
  case 'save':
    print(await storage.save({ ...ref, files: CONTENTS.new }));
    break;
  case 'write': {
    const writer = storage.writer(ref);
    for (const [path, text] of Object.entries(CONTENTS.new)) await writer.write(path, text);
    print(await writer.commit());
    break;
  }
  case 'replace':
    print(await storage.save({ ...ref, files: CONTENTS.new, replace: true }));
    break;
  case 'delete':
    print(await storage.delete(ref));
    break;
  case 'upload':
    while ((await storage.status()).outbox.owed > 0) await storage.drain(100);
    break;
}
await storage.close();
print({ steps: (globalThis as unknown as { crashSteps(): number }).crashSteps() });
