import type { House } from './house.ts';
import type { Report } from './path.ts';

/** Tells a person what happened. */
export function printReport(report: Report): void {
  const { saved, uploaded, download } = report;
  const rate = ((saved.bytes / 1e6 / Math.max(saved.ms, 1)) * 1000).toFixed(1);
  const lines = [
    '',
    `  saved       v${report.version}, ${saved.files} files, ${formatSize(saved.bytes)} in ${saved.ms} ms (${rate} MB/s), durable`,
    `  uploaded    ${formatSize(uploaded.bytes ?? 0)} in ${uploaded.ms} ms, ${uploaded.status}`,
    `              ${uploaded.object_key}`,
    `  listed      ${report.listed} version${report.listed === 1 ? '' : 's'} for the owner`,
    `  downloaded  ${download.status}, sha256 ${download.sha256.slice(0, 16)}… ${
      download.sha256 === saved.sha256 ? 'as saved' : 'NOT AS SAVED'
    }`,
    `  compared    ${download.identical_files} files identical, ${download.different_files} different`,
    `  other user  ${report.other_user.status}`,
    '',
    report.ok ? 'All as it must be.' : 'Something is not as it must be.',
  ];
  for (const line of lines) console.log(line);
}

/** Tells a person how to go on while everything keeps running. */
export function printGuide(house: House, shown: { storePath: string; page: string }): void {
  const base = `${house.url}/functions/v1/generations`;
  console.log(`
Still running, Ctrl-C ends it. What was saved, in a browser:

  ${shown.page}

To go on in a second terminal:

  # the agent's commands, on the same store and cloud
  export USE_CLOUD_STORAGE=true SUPABASE_URL=${house.url} \\
    SUPABASE_SERVICE_KEY=${house.keys.serviceRoleKey} \\
    FILE_STORAGE_PATH=${shown.storePath}
  npx codebegen-storage list

  # the web app's calls, as ${house.owner.email} (the token is good for an hour)
  export TOKEN=${house.owner.token}
  curl -H "Authorization: Bearer $TOKEN" ${base}/projects

  # supabase-js: createClient('${house.url}', '${house.keys.publishableKey}')`);
}

function formatSize(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
