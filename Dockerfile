# syntax=docker/dockerfile:1
# Two images from one build: `worker` runs workflows anywhere, `agent` is a PostgreSQL host with the agent beside the server.
# Replace postgres:17 by the major of your data; the agent must see that major's own programs.

FROM node:24-bookworm-slim AS build
WORKDIR /opt/walkback
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json ./
COPY types ./types
COPY scripts ./scripts
COPY src ./src
RUN node scripts/build.mjs && npm prune --omit=dev

FROM node:24-bookworm-slim AS worker
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/walkback/package.json /opt/walkback/package.json
COPY --from=build /opt/walkback/node_modules /opt/walkback/node_modules
COPY --from=build /opt/walkback/dist /opt/walkback/dist
RUN ln -s /opt/walkback/dist/cli/main.js /usr/local/bin/walkback
USER node
ENTRYPOINT ["walkback"]
CMD ["worker"]

FROM postgres:17-bookworm AS agent
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
  && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=build /opt/walkback/package.json /opt/walkback/package.json
COPY --from=build /opt/walkback/node_modules /opt/walkback/node_modules
COPY --from=build /opt/walkback/dist /opt/walkback/dist
COPY --chmod=0755 deploy/postgres-with-agent.sh /usr/local/bin/postgres-with-agent
# Volumes mounted here take over owner and mode: the agent and both kinds of cluster run as postgres, never as root.
RUN ln -s /opt/walkback/dist/cli/main.js /usr/local/bin/walkback \
  && install --directory --owner=postgres --group=postgres --mode=0700 /var/lib/walkback /var/lib/postgresql/restored
USER postgres
ENTRYPOINT ["postgres-with-agent"]
CMD ["postgres"]
