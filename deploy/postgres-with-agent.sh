#!/usr/bin/env bash
# Runs a PostgreSQL server and its walkback agent side by side in one container; the arguments are those of the server. The server
# decides how long the container lives: an agent that ends is started again, because a crash of it must not cost a server.
# Job control, because without it bash starts background commands deaf to SIGINT.
set -uom pipefail

keep_agent_running() {
  local agent
  trap 'kill -TERM "$agent" 2>/dev/null; wait "$agent"; exit 0' TERM
  while :; do
    walkback agent &
    agent=$!
    wait "$agent"
    echo "walkback agent ended with exit code $?; it is started again" >&2
    sleep 1 &
    wait $!
  done
}

docker-entrypoint.sh "$@" &
server=$!
keep_agent_running &
keeper=$!

# SIGINT is PostgreSQL's fast shutdown.
trap 'kill -INT "$server" 2>/dev/null' TERM INT

# A trapped signal ends `wait` early, so it is asked again until the server is gone.
wait "$server"
status=$?
while kill -0 "$server" 2>/dev/null; do
  wait "$server"
  status=$?
done

# Only now: on its way down the server archives its last segment, and the agent takes it.
kill -TERM "$keeper"
wait "$keeper"
exit "$status"
