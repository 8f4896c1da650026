/** The four calls of the old system, from TypeScript and from Python. */
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import {
  enrichGenerationResponse,
  getDownloadUrlForGeneration,
  getStorageInfo,
  saveGenerationWithCloud,
} from '../../node-agent/index.ts';
import { uniqueId } from '../support/cloud.ts';
import { startDaemon } from '../support/daemon.ts';
import { runPython } from '../support/python.ts';
import { openTestStorage, testCloud, waitForStatus } from '../support/storage.ts';
import { readTexts } from '../support/tree.ts';

test('from TypeScript: saved, enriched, downloaded, and in the place of what was there', async () => {
  const storage = await openTestStorage({ cloud: testCloud('codebegen-projects') });
  const input = { projectId: uniqueId(), version: 1, generationId: 'g', files: { a: '1' } };
  const saved = await saveGenerationWithCloud(storage, input);
  expect(saved).toMatchObject({ version: 1, created: true, cloudStorageEnabled: true });
  await waitForStatus(storage, saved, 'verified');
  const response = { id: 'g', prompt: 'a shop' };
  const enriched = await enrichGenerationResponse(storage, response, saved);
  expect(enriched).toEqual({
    id: 'g',
    prompt: 'a shop',
    download_url: expect.stringContaining('/storage/v1/object/sign/'),
    expires_in: 3600,
    cloud_storage_enabled: true,
    storage: { local_path: saved.path, cloud_enabled: true, uploaded: true },
  });
  const url = await getDownloadUrlForGeneration(storage, saved, { expiresIn: 60 });
  expect((await fetch(url!)).status).toBe(200);
  // Saving again with other content is what old code does.
  const replaced = await saveGenerationWithCloud(storage, { ...input, files: { a: '2' } });
  expect(replaced).toMatchObject({ version: 1, created: true });
  expect(await getStorageInfo(storage)).toMatchObject({ cloud: { enabled: true } });
});

test('without a cloud and a daemon there is no URL, and all else is said', async () => {
  const storage = await openTestStorage();
  const saved = await saveGenerationWithCloud(storage, { projectId: 'p', files: { a: '1' } });
  expect(await enrichGenerationResponse(storage, {}, saved)).toEqual({
    download_url: null,
    expires_in: null,
    cloud_storage_enabled: false,
    storage: { local_path: saved.path, cloud_enabled: false, uploaded: false },
  });
  expect(await getDownloadUrlForGeneration(storage, saved)).toBeNull();
});

const PROGRAM = `
import json, sys
from codebegen_storage import StorageClient, StorageError

storage = StorageClient()
project = sys.argv[1]
files = {"app/main.py": "print('Käse')\\n", "logo.png": bytes(range(256))}
saved = storage.save_generation_with_cloud(project, files, generation_id="g", metadata={"a": 1})
again = storage.save_generation_with_cloud(project, {"a": "other"}, version=saved["version"], generation_id="g")
url = storage.get_download_url_for_generation(project, saved["version"], expires_in=60)
enriched = storage.enrich_generation_response({"id": "g"}, project, saved["version"])
errors = []
for call in (
    lambda: storage.get_download_url_for_generation(project, 99),
    lambda: storage.save_generation_with_cloud("../x", {"a": ""}),
    lambda: storage.save_generation_with_cloud(project, {"../a": ""}),
    lambda: StorageClient("http://127.0.0.1:1", timeout=5).get_storage_info(),
):
    try:
        call()
    except StorageError as error:
        errors.append([error.code, error.retryable, error.request_id is not None])
info = storage.get_storage_info()
print(json.dumps({"saved": saved, "again": again, "url": url, "enriched": enriched, "errors": errors, "info": info}))
`;

test('from Python, with its standard library alone, through the daemon', async () => {
  const token = 'a-token-of-this-test';
  const { daemon } = await startDaemon({
    USE_CLOUD_STORAGE: 'true',
    SUPABASE_URL: inject('stack').SUPABASE_URL,
    SUPABASE_SERVICE_KEY: inject('stack').SUPABASE_SERVICE_KEY,
    AGENT_TOKEN: token,
  });
  const ran = await runPython(PROGRAM, [uniqueId()], {
    AGENT_URL: daemon.url,
    AGENT_TOKEN: token,
    http_proxy: 'http://127.0.0.1:1',
  });
  expect(ran.stderr).toBe('');
  const result = JSON.parse(ran.stdout);
  expect(result.saved).toMatchObject({
    version: 1,
    generation_id: 'g',
    file_count: 2,
    created: true,
  });
  // Its files lie where it says.
  expect(Object.keys(readTexts(join(result.again.path, 'source')))).toEqual(['a']);
  expect(result.again).toMatchObject({ version: 1, file_count: 1, created: true });
  expect((await fetch(result.url)).status).toBe(200);
  expect(result.enriched).toMatchObject({
    id: 'g',
    cloud_storage_enabled: true,
    storage: { cloud_enabled: true },
  });
  expect(result.errors).toEqual([
    ['not_found', false, true],
    ['invalid_input', false, true],
    ['invalid_input', false, true],
    ['unavailable', true, false],
  ]);
  expect(result.info.cloud.enabled).toBe(true);
});
