#!/bin/sh
# Says something in the lobby with nothing but curl: sh send.sh TEXT [URL]
url="${2:-http://127.0.0.1:3000}"
text=$(printf %s "$1" | tr '\n\t' '  ' | sed 's/["\\]/\\&/g')
token=$(curl --silent --fail --json '{"name":"Curl"}' "$url/v1/guests" | sed 's/.*"token":"\([^"]*\)".*/\1/')
# The same Idempotency-Key is stored once, however often curl has to try.
curl --silent --show-error --fail --retry 5 --header "Authorization: Bearer $token" \
  --header "Idempotency-Key: $(date +%s)-$$" --json "{\"body\":{\"text\":\"$text\"}}" "$url/v1/rooms/lobby/messages"
