/** Our own S3 server as a process of its own, so that its CPU time is not that of a contestant. Tells its endpoint in one line of JSON. */
import { startS3Server } from '../../src/demo/s3-server/s3-server.ts';

const [bucket = 'walkback'] = process.argv.slice(2);
const server = await startS3Server({
  accessKeyId: process.env['AWS_ACCESS_KEY_ID'] ?? '',
  secretAccessKey: process.env['AWS_SECRET_ACCESS_KEY'] ?? '',
  buckets: [bucket],
});
process.once('SIGTERM', () => void server.close().then(() => process.exit(0)));
process.stdout.write(`${JSON.stringify({ endpoint: server.endpoint })}\n`);
