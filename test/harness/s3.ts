/** An S3 endpoint for tests: the one that the environment names, else the strict server of the demo. */
export { givenS3, type LocalS3 as TestS3, startLocalS3 as startTestS3 } from '../../src/demo/local-services/local-s3.ts';
