#!/usr/bin/env bash
# Starts the server, talks to it, and ends it.
set -eu
exec 3< <(exec ./server)
server=$!
trap 'kill "$server"' EXIT
read -r port <&3
for word in one two three; do
    exec 4<>"/dev/tcp/127.0.0.1/$port"
    echo "$word" >&4
    read -r answer <&4
    exec 4>&-
    [ "$answer" = "$word" ]
done
# The server has seen the last one hang up.
sleep 0.2
