/** The Python client: everything that a generator in Python asks of a daemon. */
import { chmodSync, readFileSync, symlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { hostEnvironment } from '../support/host.ts';
import { runPython } from '../support/python.ts';
import { ROOT, run, runCli } from '../support/run.ts';
import { tempFolder, writeFiles } from '../support/temp.ts';

const HEAD = `
import json, os, sys
from codebegen_storage import StorageClient, StorageError
storage = StorageClient()

def failure(call):
    try:
        call()
    except StorageError as error:
        return [error.code, error.retryable]
    return "no failure"
`;

async function runProgram(program: string, args: string[], env: Record<string, string>) {
  const ran = await runPython(HEAD + program, args, env);
  expect(ran.stderr).toBe('');
  return JSON.parse(ran.stdout);
}

test('save, get, show, list, files, diff, activate, download, delete: one project from first to last', async () => {
  const { daemon } = await startDaemon();
  const to = await tempFolder();
  const result = await runProgram(
    `
files = {"app/main.py": "print('Käse')\\n", "run.sh": {"content": "#!/bin/sh\\n", "mode": 0o755}, "logo.png": bytes(range(256))}
saved = storage.save("shop", files, metadata={"promptId": 7})
again = storage.save("shop", files, version=1, generation_id=saved["generation_id"])
storage.save("shop", {**files, "new.txt": ""})
got = storage.get("shop", 1)
storage.activate("shop", 2)
storage.download("shop", 1, sys.argv[1] + "/shop.zip", format="zip")
storage.download("shop", 1, sys.argv[1] + "/shop.tar.gz")
print(json.dumps({
    "saved": saved, "again": again["created"],
    "source": sorted(os.listdir(got["source_path"])),
    "mode": os.stat(got["source_path"] + "/run.sh").st_mode & 0o777,
    "metadata": storage.show("shop", 1)["metadata"],
    "list": [[one["version"], one["active"]] for one in storage.list("shop")],
    "projects": [one["project_id"] for one in storage.projects()],
    "files": [one["path"] for one in storage.files("shop", 1)],
    "logo": storage.read_file("shop", 1, "logo.png") == bytes(range(256)),
    "diff": [one["path"] for one in storage.diff("shop", 1, 2)["added"]],
    "cleaned": storage.clean_up(),
    "deleted": [storage.delete("shop", 1), storage.delete("shop", 1)],
    "project": [storage.delete_project("shop"), storage.delete_project("shop")],
    "left": list(storage.list("shop")),
    "back": [storage.undelete("shop", 1), storage.undelete("shop", 1), storage.undelete_project("shop")],
    "replaced": storage.save("shop", {"a": "2"}, version=1, generation_id=saved["generation_id"], replace=True)["created"],
    "content": storage.undelete("shop", 1, content=saved["digest"]),
    "kept": len(storage.show("shop", 1)["replaced"]),
    "info": storage.get_storage_info()["generations"],
}))
`,
    [to],
    { AGENT_URL: daemon.url },
  );
  expect(result).toMatchObject({
    saved: { version: 1, file_count: 3, created: true },
    again: false,
    source: ['app', 'logo.png', 'run.sh'],
    // For this host alone, and to be run.
    mode: 0o700,
    metadata: { promptId: 7 },
    list: [
      [2, true],
      [1, false],
    ],
    projects: ['shop'],
    files: ['app/main.py', 'logo.png', 'run.sh'],
    logo: true,
    diff: ['new.txt'],
    cleaned: { cache: { evicted: 0 }, trees: { evicted: 0 } },
    deleted: [true, false],
    project: [1, 0],
    left: [],
    back: [true, false, 1],
    replaced: true,
    content: true,
    kept: 1,
    info: {},
  });
  const zip = await run('unzip', ['-p', join(to, 'shop.zip'), 'app/main.py']);
  expect(zip.stdout).toBe("print('Käse')\n");
  const tar = await run('tar', ['xzOf', join(to, 'shop.tar.gz'), 'run.sh']);
  expect(tar.stdout).toBe('#!/bin/sh\n');
});

test('what JSON cannot hold is streamed; a folder is saved with its modes and without links', async () => {
  const { daemon } = await startDaemon();
  const folder = await tempFolder();
  await writeFiles(folder, {
    'a/run.sh': '#!/bin/sh\n',
    [`deep/${'d'.repeat(200)}/Käse.txt`]: 'k',
    'node_modules/x.js': 'x',
    'big.bin': Buffer.alloc(600_000, 1),
  });
  chmodSync(join(folder, 'a/run.sh'), 0o755);
  symlinkSync('/etc/passwd', join(folder, 'passwd'));
  const result = await runProgram(
    `
saved = storage.save_folder("folder", sys.argv[1], metadata={"prompt": "é" * 15000}, lay_out=True)
big = storage.save("big", {"a.bin": os.urandom(1 << 20) * 40, "control": "\\x01" * 20_000_000, "x.sh": {"content": "x", "mode": 0o700}})
print(json.dumps({
    "paths": [[one["path"], one["mode"]] for one in storage.files("folder", 1)],
    "prompt": len(storage.show("folder", 1)["metadata"]["prompt"]),
    "big": [[one["path"], one["size"], one["mode"]] for one in storage.files("big", 1)],
    "metadata": failure(lambda: storage.save_folder("folder", sys.argv[1], metadata={"prompt": "é" * 20000})),
    "many": failure(lambda: storage.save("many", {"%d" % n: b"" for n in range(20001)} | {"big": b"x" * (33 << 20)})),
    "list": list(storage.list("many")),
}))
`,
    [folder],
    { AGENT_URL: daemon.url },
  );
  expect(result).toEqual({
    paths: [
      ['a/run.sh', 0o755],
      ['big.bin', 0o644],
      [`deep/${'d'.repeat(200)}/Käse.txt`, 0o644],
    ],
    prompt: 15_000,
    big: [
      ['a.bin', 40 << 20, 0o644],
      ['control', 20_000_000, 0o644],
      ['x.sh', 1, 0o700],
    ],
    metadata: ['too_large', false],
    // Refused in the middle of the body: the reason arrives all the same.
    many: ['too_large', false],
    list: [],
  });
});

test('each failure is a StorageError, retryable where another try can help', async () => {
  const token = 'a-token-of-this-test';
  const { daemon } = await startDaemon({ AGENT_TOKEN: token });
  const page = await serve((_, answer) => answer.end('<html>'));
  const gateway = await serve((_, answer) => answer.writeHead(502).end('<html>'));
  const broken = await serve((_, answer) => {
    answer.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
    answer.write('{"a"');
    setImmediate(() => answer.destroy());
  });
  const silent = await serve(() => {});
  const result = await runProgram(
    `
page, gateway, broken, silent = sys.argv[1:]
info = lambda **given: failure(lambda: StorageClient(**{"timeout": 1, **given}).get_storage_info())
print(json.dumps({
    "not found": failure(lambda: storage.get("shop", 9)),
    "bad id": failure(lambda: storage.show("../x", 1)),
    "bad path": failure(lambda: storage.save("shop", {"../a": ""})),
    "bad content": failure(lambda: storage.save("shop", {"a": 1})),
    "no content": failure(lambda: storage.save("shop", {"a": {"mode": 0o755}})),
    "no such target": failure(lambda: storage.download("shop", 9, "/nowhere/x")),
    "lone surrogate": failure(lambda: storage.save("shop", {"a": "\\ud800"})),
    "no such folder": failure(lambda: storage.save_folder("shop", "/nowhere")),
    "token": info(token="another-token-than-that"),
    "nobody listens": info(url="http://127.0.0.1:1"),
    "no such host": info(url="http://no.such.host.invalid:1"),
    "no URL": info(url="127.0.0.1:8787"),
    "a page": info(url=page), "a gateway": info(url=gateway), "cut off": info(url=broken), "silence": info(url=silent),
}))
`,
    [page, gateway, broken, silent],
    { AGENT_URL: daemon.url, AGENT_TOKEN: `${token}\n` },
  );
  expect(result).toEqual({
    'not found': ['not_found', false],
    'bad id': ['invalid_input', false],
    'bad path': ['invalid_input', false],
    'bad content': ['invalid_input', false],
    'no content': ['invalid_input', false],
    'no such target': ['unavailable', false],
    'lone surrogate': ['invalid_input', false],
    'no such folder': ['invalid_input', false],
    token: ['unauthenticated', false],
    'nobody listens': ['unavailable', true],
    'no such host': ['unavailable', false],
    'no URL': ['invalid_input', false],
    'a page': ['unavailable', false],
    'a gateway': ['unavailable', true],
    'cut off': ['unavailable', true],
    silence: ['unavailable', true],
  });
});

test('threads share a client, and asyncio runs it in threads', async () => {
  const { daemon } = await startDaemon();
  const result = await runProgram(
    `
import asyncio
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    threads = list(pool.map(lambda n: storage.save("p%d" % n, {"n": str(n)})["version"], range(40)))
async def main():
    return await asyncio.gather(*(asyncio.to_thread(storage.read_file, "p%d" % n, 1, "n") for n in range(40)))
def fetch(n):
    storage.download("p0", 1, sys.argv[1] + "/same.tar.gz")
    with open(sys.argv[1] + "/same.tar.gz", "rb") as file:
        return len(file.read())
with ThreadPoolExecutor(8) as pool:
    sizes = set(pool.map(fetch, range(40)))
assert len(sizes) == 1 and os.listdir(sys.argv[1]) == ["same.tar.gz"], sizes
print(json.dumps([threads, [one.decode() for one in asyncio.run(main())]]))
`,
    [await tempFolder()],
    { AGENT_URL: daemon.url },
  );
  expect(result).toEqual([
    Array.from({ length: 40 }, () => 1),
    Array.from({ length: 40 }, (_, n) => `${n}`),
  ]);
});

test('an archive that the cloud alone has is downloaded from there, without the token', async () => {
  const env = await hostEnvironment({ AGENT_TOKEN: 'a-token-of-this-test' });
  const project = uniqueId();
  await runCli(['save', `${ROOT}/docs/examples`, '--project', project], env);
  const { stdout } = await runCli(['cleanup', '--store', '--older-than', '0h'], env);
  expect(stdout).toContain('1 originals');
  const { daemon } = await startDaemon(env);
  const to = join(await tempFolder(), 'a.tar.gz');
  await runProgram('storage.download(sys.argv[1], 1, sys.argv[2])\nprint("null")', [project, to], {
    AGENT_URL: daemon.url,
    AGENT_TOKEN: 'a-token-of-this-test',
  });
  expect((await run('tar', ['tzf', to])).stdout).toContain('codebegen_storage.py');
});

test('it is one file for Python 3.9', async () => {
  const source = join(ROOT, 'docs/examples/codebegen_storage.py');
  const check = 'import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, 9))';
  expect(await run('python3', ['-I', '-c', check, source])).toMatchObject({ code: 0, stderr: '' });
  // Not named before 3.10.
  expect(readFileSync(source, 'utf8')).not.toMatch(/ \| None|match /);
});

async function serve(handler: Parameters<typeof createServer>[1]): Promise<string> {
  const server: Server = createServer(handler!);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
