#!/usr/bin/env bash
# Local stand-ins for the public base images that the project's Dockerfile and docker-compose.yml
# name, made from Debian packages and the machine's own Rust toolchain, for a machine that reaches
# package registries but no image registry. Machines with internet access do not need this file.
#
#   stand-in-images.sh up               install the engine and plugins if missing, start dockerd if stopped
#   stand-in-images.sh images [NAME..]  build the named stand-ins that are not there yet
#   stand-in-images.sh purge            remove the stand-ins (not the images built on them)
#   stand-in-images.sh down             stop the dockerd that `up` started
# Names: debian:{bookworm,trixie}-slim, rust:1.95[-slim]-bookworm, redis:{7-bookworm,8-trixie},
#        postgres:{15-bookworm,17-trixie}, haproxy:{2.6,3.0}, nginx:1.*, prom/prometheus:v*. Existing images are kept.
#        The versions are those of Debian: Redis 7.0, PostgreSQL 17, HAProxy 3.0, nginx 1.26, Prometheus 2.53.
set -euo pipefail
DEFAULT=(debian:bookworm-slim rust:1.95-bookworm redis:7-bookworm postgres:17-trixie haproxy:3.0 nginx:1.28 prom/prometheus:v3.5.0)
RUN=${STANDIN_RUN:-/run/stand-in-docker} DATA=${STANDIN_DATA:-/var/lib/docker}
PLUGINS=/usr/local/lib/docker/cli-plugins KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
export DEBIAN_FRONTEND=noninteractive
say() { printf '%(%T)T stand-in: %s\n' -1 "$*"; }; die() { echo "stand-in: $*" >&2; exit 2; }
apt_add() { dpkg -s "$@" >/dev/null 2>&1 || { apt-get update -qq; apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }; }
deb_lines() { # this machine's Debian sources, turned to suite $1
  local q=(apt-get indextargets --format "deb [signed-by=$KEYS] \$(REPO_URI) \$(RELEASE) main" 'Created-By: Packages' 'Origin: Debian')
  [ -n "$("${q[@]}")" ] || apt-get update -qq; "${q[@]}" | sort -u | sed "s/ bookworm/ $1/"
}
plugins() { # Compose v2 and buildx: Debian 12 has neither, Debian 13's packages run on it (libc6 >= 2.34)
  docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 && return
  say 'fetching Compose v2 and buildx'
  local t o p; t=$(mktemp -d); mkdir -p "$t"/{lists/partial,cache/archives/partial} "$PLUGINS"
  deb_lines trixie | grep -m1 ' trixie main' >"$t/list"
  o=(-qq -o Dir::Etc::sourcelist="$t/list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$t/lists"
     -o Dir::Cache="$t/cache" -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User=root)
  apt-get "${o[@]}" update
  (cd "$t" && apt-get "${o[@]}" download docker-compose/trixie docker-buildx/trixie)
  for p in "$t"/*.deb; do dpkg-deb --fsys-tarfile "$p" |
    tar -x -C "$PLUGINS" --strip-components=5 --wildcards './usr/libexec/docker/cli-plugins/*'; done; rm -rf "$t"
}
up() {
  if [ ! -x /usr/sbin/dockerd ]; then # keep the package from starting a daemon of its own
    local p=/usr/sbin/policy-rc.d; [ -e $p ] && p=/dev/null || { printf '#!/bin/sh\nexit 101\n' >$p; chmod +x $p; }
    say 'installing the engine'; apt_add docker.io; [ $p = /dev/null ] || rm -f $p
  fi
  plugins; docker info >/dev/null 2>&1 && { say 'dockerd runs already'; return; }
  mkdir -p "$RUN"; local pf=/var/run/docker.pid; [ ! -e $pf ] || kill -0 "$(cat $pf)" 2>/dev/null || rm -f $pf # left by a dockerd that was killed
  setsid dockerd --data-root "$DATA" --exec-root "$RUN/exec" >"$RUN/log" 2>&1 </dev/null & echo $! >"$RUN/pid"
  for _ in $(seq 150); do
    docker info >/dev/null 2>&1 && { say 'dockerd is up'; return; }; kill -0 "$(cat "$RUN/pid")" 2>/dev/null || break; sleep 0.2
  done; tail -20 "$RUN/log" >&2; die 'dockerd did not start'
}
down() {
  local p; p=$(cat "$RUN/pid" 2>/dev/null) && grep -qx dockerd "/proc/$p/comm" 2>/dev/null || { say 'no dockerd of this script runs'; return; }
  kill "$p"; for _ in $(seq 150); do kill -0 "$p" 2>/dev/null || break; sleep 0.2; done; rm -f "$RUN/pid"; say 'dockerd stopped'
}
have() { docker image inspect "$1" >/dev/null 2>&1; }
build() { DOCKER_BUILDKIT=0 docker build -q --force-rm --label stand-in="$1" -t "$1" "${@:2}" >/dev/null 2>"$W/err" || { cat "$W/err" >&2; die "$1 failed"; }; }
base() { # $1 = suite; in memory where it fits: dpkg's fsyncs cost more than the unpacking
  have "debian:$1-slim" && return; apt_add mmdebstrap; say "debian:$1-slim"
  local tmp=/tmp; [ "$(df --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 2000000 ] 2>/dev/null && tmp=/dev/shm
  deb_lines "$1" >"$W/$1.list"; export W
  echo 'Dir::Cache { pkgcache ""; srcpkgcache ""; }; DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };' >"$W/clean"
  printf 'path-exclude=/usr/share/%s/*\n' doc man locale >"$W/slim"
  TMPDIR=$tmp mmdebstrap --quiet --variant=minbase --dpkgopt=force-unsafe-io --dpkgopt="$W/slim" \
    --customize-hook='cat "$W/clean" >"$1/etc/apt/apt.conf.d/docker-clean"; rm -f "$1"/var/cache/apt/*.bin' \
    "$1" "$W/$1.tar" "$W/$1.list"
  docker import -c 'CMD ["bash"]' -c "LABEL stand-in=debian:$1-slim" "$W/$1.tar" "debian:$1-slim" >/dev/null; rm "$W/$1.tar"
}
rust() { # only what the public -slim image has: more would hide an apt-get install that the Dockerfile lacks
  local v=${1#rust:} c; v=${v%%-*}; case $(rustc -V) in "rustc $v."*) ;; *) die "$1 asked for, but the machine has $(rustc -V)";; esac
  base bookworm; say "$1"; mkdir -p "$W/rust/ca"; cp /usr/local/share/ca-certificates/*.crt "$W/rust/ca/" 2>/dev/null || : # the machine's extra CAs
  cat >"$W/rust/Dockerfile" <<'D'
FROM debian:bookworm-slim
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY ca/ /usr/local/share/ca-certificates/
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates gcc libc6-dev \
 && update-ca-certificates && rm -rf /var/lib/apt/lists/* && mkdir -p /usr/local/rustup/toolchains/host /usr/local/cargo/bin \
 && for b in cargo rustc rustdoc; do ln -s /usr/local/rustup/toolchains/host/bin/$b /usr/local/cargo/bin/$b; done
D
  build stand-in-tmp "$W/rust"; c=$(docker create stand-in-tmp)
  tar -C "$(rustc --print sysroot)" -c bin lib | docker cp - "$c:/usr/local/rustup/toolchains/host"
  docker commit -c "LABEL stand-in=$1" "$c" "$1" >/dev/null; docker rm "$c" >/dev/null; docker rmi stand-in-tmp >/dev/null
}
service() { # $1 image, $2 suite, $3 package, $4 uid, $5 user, $6 Dockerfile lines after the install; entrypoint on standard input
  base "$2"; say "$1"; mkdir -p "$W/$5"; cat >"$W/$5/docker-entrypoint.sh"; chmod 755 "$W/$5/docker-entrypoint.sh"
  cat >"$W/$5/Dockerfile" <<D
FROM debian:$2-slim
RUN mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf \\
 && apt-get update -qq && apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold $3 && rm -rf /var/lib/apt/lists/* \\
 && old=\$(id -u $5) && groupmod -g $4 $5 && usermod -u $4 -g $4 $5 && find /var/lib /run -xdev -uid \$old -exec chown $5:$5 {} +
COPY docker-entrypoint.sh /usr/local/bin/
ENTRYPOINT ["docker-entrypoint.sh"]
$6
D
  build "$1" "$W/$5"
}
redis() { service "$1" "$2" redis-server 999 redis 'RUN mkdir /data && chown redis:redis /data
VOLUME /data
WORKDIR /data
CMD ["redis-server"]' <<'D'
#!/bin/sh
case "$1" in -*|*.conf) set -- redis-server "$@";; esac
[ "$1" != redis-server ] || [ "$(id -u)" != 0 ] || { chown -R redis:redis /data; exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"; }
case "$1 $2" in *' -v'|*' --version'|*' --help') ;; redis-server*) set -- "$@" --protected-mode no;; esac # off in the public image too
exec "$@"
D
}
haproxy() { service "$1" "$2" haproxy 99 haproxy 'RUN mkdir -p /usr/local/etc/haproxy && mv /etc/haproxy/errors /usr/local/etc/haproxy/ && rm -r /etc/haproxy
USER haproxy
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]' <<'D'
#!/bin/sh
case "$1" in -*) set -- haproxy "$@";; esac
if [ "$1" = haproxy ]; then shift; set -- haproxy -W -db "$@"; fi
exec "$@"
D
}
postgres() { service "$1" "$2" "postgresql-$3" 999 postgres "ENV PATH=\$PATH:/usr/lib/postgresql/$3/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8
"'RUN mkdir -p /docker-entrypoint-initdb.d $PGDATA && chown postgres:postgres $PGDATA
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
CMD ["postgres"]' <<'D'
#!/bin/bash
set -euo pipefail
for v in POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB; do f=${v}_FILE; [ -z "${!f:-}" ] || export "$v=$(cat "${!f}")"; done
case "${1:-}" in -*) set -- postgres "$@";; esac
[ "$1" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then mkdir -p "$PGDATA" /run/postgresql; chown -R postgres:postgres "$PGDATA" /run/postgresql; chmod 700 "$PGDATA"
  HOME=/var/lib/postgresql exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"; fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  u=${POSTGRES_USER:-postgres} d=${POSTGRES_DB:-${POSTGRES_USER:-postgres}} m=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  [ -n "${POSTGRES_PASSWORD:-}" ] || [ "$m" = trust ] || { echo 'POSTGRES_PASSWORD is not set' >&2; exit 1; }
  initdb -D "$PGDATA" -U "$u" --pwfile=<(echo "${POSTGRES_PASSWORD:-}") ${POSTGRES_INITDB_ARGS:-}
  echo "host all all all $m" >>"$PGDATA/pg_hba.conf"; echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
  pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start # socket only while the init scripts run, as the public image does
  psql=(psql -v ON_ERROR_STOP=1 -U "$u" -d "$d")
  [ "$d" = postgres ] || psql -v ON_ERROR_STOP=1 -U "$u" -d postgres -c "CREATE DATABASE \"$d\""
  for f in /docker-entrypoint-initdb.d/*; do case $f in
    *.sql) "${psql[@]}" -f "$f";; *.sql.gz) zcat "$f" | "${psql[@]}";; *.sh) if [ -x "$f" ]; then "$f"; else . "$f"; fi;; esac; done
  pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
D
}
nginx() { service "$1" "$2" nginx 101 www-data 'STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]' <<'D'
#!/bin/sh
exec "$@"
D
}
prometheus() { # without Debian's consoles and daemon scripts, and as nobody, like the public one
  base "$2"; say "$1"; mkdir -p "$W/prometheus"; cat >"$W/prometheus/Dockerfile" <<D
FROM debian:$2-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* \\
 && mkdir /prometheus && chown nobody:nogroup /prometheus
USER nobody
VOLUME /prometheus
WORKDIR /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
D
  build "$1" "$W/prometheus"
}
images() { local n s; [ $# -gt 0 ] || set -- "${DEFAULT[@]}"; W=$(mktemp -d); trap 'rm -rf "$W"' EXIT
  for n in "$@"; do have "$n" || case $n in
    debian:*-slim) s=${n#debian:}; base "${s%-slim}";; rust:1.*-bookworm) rust "$n";;
    redis:7*|haproxy:2.6*) "${n%%:*}" "$n" bookworm;; redis:8*|haproxy:3.0*) "${n%%:*}" "$n" trixie;;
    postgres:15*) postgres "$n" bookworm 15;; postgres:17*) postgres "$n" trixie 17;;
    nginx:1*) nginx "$n" trixie;; prom/prometheus:v*) prometheus "$n" trixie;; *) die "no stand-in known for $n";; esac; done
}
purge() { # a built image inherits the label, so the label must equal the name
  docker images -f label=stand-in --format '{{.Repository}}:{{.Tag}}' | while read -r n; do
    [ "$(docker inspect -f '{{index .Config.Labels "stand-in"}}' "$n" 2>/dev/null)" != "$n" ] || docker rmi -f "$n" >/dev/null; done
}
case "${1:-}" in up|down|images|purge) "$@";; *) sed -n '2,/^set -/{/^#/p}' "$0"; exit 64;; esac
