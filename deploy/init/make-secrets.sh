#!/bin/sh
# Makes the cluster's secrets once, and puts them where each service can read its own.
#
# What the user gives wins, every time: first a file in deploy/secrets, then a variable from .env.
# Otherwise what was made at an earlier start stays.
#
#   file in deploy/secrets   variable                  what
#   redis-password           HUBBUB_REDIS_PASSWORD     password of the Redis in this file
#   redis-url                HUBBUB_REDIS_URL          another Redis than that
#   postgres-password        HUBBUB_POSTGRES_PASSWORD  of the PostgreSQL here, when it is made
#   archive-url              HUBBUB_ARCHIVE_URL        another PostgreSQL than that
#   auth-secret              HUBBUB_AUTH_SECRET        signs tokens; at least 32 bytes
#   ops-token                HUBBUB_OPS_TOKEN          the key to `hubbub admin`; at least 32 bytes
#   grafana-password         HUBBUB_GRAFANA_PASSWORD   Grafana's user admin
set -eu
umask 077

GIVEN=${GIVEN:-/given} OUT=${OUT:-/run/hubbub}
# Who may read what: the users of the images.
REDIS=999 POSTGRES=999 GATEWAY=10001 GRAFANA=472

random() { od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'; }
# Every byte as $1 and two hexadecimal digits: safe in a URL (%) and in redis.conf (\x).
escape() { od -An -v -tx1 | tr -d '\n' | sed "s/ /$1/g"; }

# $1 = name, $2 = what .env says: the secret, wherever it comes from; nothing if from nowhere
find_secret() {
  if [ -s "$GIVEN/$1" ]; then cat "$GIVEN/$1"
  elif [ -n "$2" ]; then printf %s "$2"
  elif [ -s "$OUT/$1" ]; then cat "$OUT/$1"
  fi
}

# $1 = name, $2 = reader, $3 = content; a reader never sees half a file
put() {
  printf %s "$3" >"$OUT/.$1"
  chown "$2:$2" "$OUT/.$1"
  chmod 400 "$OUT/.$1"
  mv "$OUT/.$1" "$OUT/$1"
}

# $1 = name, $2 = reader, $3 = what .env says
keep_secret() {
  secret=$(find_secret "$1" "$3")
  put "$1" "$2" "${secret:-$(random)}"
}

chmod 755 "$OUT"
keep_secret redis-password $REDIS "${HUBBUB_REDIS_PASSWORD:-}"
keep_secret postgres-password $POSTGRES "${HUBBUB_POSTGRES_PASSWORD:-}"
keep_secret auth-secret $GATEWAY "${HUBBUB_AUTH_SECRET:-}"
keep_secret ops-token $GATEWAY "${HUBBUB_OPS_TOKEN:-}"
keep_secret grafana-password $GRAFANA "${HUBBUB_GRAFANA_PASSWORD:-}"

password=$(cat "$OUT/redis-password")
put redis.conf $REDIS "requirepass \"$(printf %s "$password" | escape '\\x')\"
"
# Not kept: it follows the password, unless the user has another Redis.
rm -f "$OUT/redis-url"
url=$(find_secret redis-url "${HUBBUB_REDIS_URL:-}")
put redis-url $GATEWAY "${url:-redis://:$(printf %s "$password" | escape %)@redis:6379}"

password=$(cat "$OUT/postgres-password")
rm -f "$OUT/archive-url"
url=$(find_secret archive-url "${HUBBUB_ARCHIVE_URL:-}")
put archive-url $GATEWAY "${url:-postgres://hubbub:$(printf %s "$password" | escape %)@postgres:5432/hubbub}"
echo 'the secrets are in their places'
