/** The shapes of downloads in the Edge API's JSON: as those in `api.ts`. */
import * as v from 'valibot';
import { bytes, generation, hash, time } from './api.ts';
import { URL_EXPIRY } from './limits.ts';

export const DownloadQuerySchema = v.object({
  generation,
  region: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, 'the name of a region, as "eu-west-1"'),
      v.description(
        'Where to download from, if a replica there has it; else where the function runs.',
      ),
    ),
  ),
});

export const DownloadBodySchema = v.object({
  format: v.optional(v.picklist(['tar.gz', 'zip'], 'must be "tar.gz" or "zip"'), 'tar.gz'),
  expires_in: v.optional(
    v.pipe(
      v.number('a number of seconds'),
      v.integer('a whole number of seconds'),
      v.minValue(1, 'at least 1 second'),
      v.maxValue(URL_EXPIRY.max, `at most ${URL_EXPIRY.max} seconds`),
      v.description('Seconds.'),
    ),
    URL_EXPIRY.default,
  ),
  revocable: v.optional(
    v.pipe(
      v.boolean('true or false'),
      v.description(
        'Whether it is a link that can be ended: it leads to a URL that is good for 30 seconds.',
      ),
    ),
    false,
  ),
});

export const DownloadSchema = v.object({
  url: v.pipe(v.string(), v.description('Needs nothing else; whoever has it can download.')),
  expires_at: time,
  sha256: v.nullable(v.pipe(hash, v.description('Of what is downloaded; unknown for a zip.'))),
  size: v.nullable(bytes),
  link: v.nullable(v.pipe(v.string(), v.description('The id of a link that can be ended.'))),
  region: v.nullable(
    v.pipe(v.string(), v.description('Of the replica that it is of; null: of none.')),
  ),
});
export type Download = v.InferOutput<typeof DownloadSchema>;
