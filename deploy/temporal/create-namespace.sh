#!/bin/sh
# Makes the namespace and the search attributes that walkback's workflows set; may be run any number of times. The server's address comes
# in TEMPORAL_ADDRESS, the namespace in TEMPORAL_NAMESPACE.
set -eu

# Repeats a command until it succeeds, for a minute.
eventually() {
  attempts_left=30
  until "$@"; do
    attempts_left=$((attempts_left - 1))
    if [ "$attempts_left" -eq 0 ]; then
      echo "gave up: $*" >&2
      exit 1
    fi
    sleep 2
  done
}

eventually temporal operator cluster health

temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 30d

# The names of src/domain/search-attributes.ts. Making one that exists with the same type is no error. A new namespace is known to every
# part of the server only some seconds later.
eventually temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" \
  --name WalkbackCluster --type Keyword \
  --name WalkbackHost --type Keyword \
  --name WalkbackOperation --type Keyword \
  --name WalkbackPhase --type Keyword \
  --name WalkbackTarget --type Datetime
