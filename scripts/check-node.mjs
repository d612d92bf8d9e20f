// Importing this file refuses a Node that is too old for the scripts beside it. It must stay the first import of each of them.

const lowestMajor = 20;

if (Number.parseInt(process.versions.node, 10) < lowestMajor) {
  process.stderr.write(`walkback: Node ${process.versions.node} is too old; install Node ${lowestMajor} or newer and try again.\n`);
  process.exit(1);
}
