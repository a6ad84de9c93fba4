#!/bin/sh
# Listens to the lobby with nothing but curl: sh listen.sh [URL]
url="${1:-http://127.0.0.1:3000}/v1/rooms/lobby/events"
exec curl --silent --show-error --fail --no-buffer "$url?recent=20"
