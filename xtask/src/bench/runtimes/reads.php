<?php
// Both ends of every connection in one thread. A line on stdin is a job: "reads N" or "connections N".
const BATCH = 16384;

function pair($listen) {
    $near = stream_socket_client('tcp://' . stream_socket_get_name($listen, false));
    return [$near, stream_socket_accept($listen)];
}

function take($server) {
    stream_socket_recvfrom($server, 1);
}

function reads($client, $server, $count) {
    for (; $count > 0; $count -= $now) {
        $now = min($count, BATCH);
        stream_socket_sendto($client, str_repeat('x', $now));
        for ($at = 0; $at < $now; $at++) {
            take($server);
        }
    }
}

function connections($listen, $count) {
    for ($at = 0; $at < $count; $at++) {
        [$near, $far] = pair($listen);
        stream_socket_sendto($near, 'x');
        take($far);
        fclose($near);
        fclose($far);
    }
}

$listen = stream_socket_server('tcp://127.0.0.1:0');
[$client, $server] = pair($listen);
while (($line = fgets(STDIN)) !== false) {
    [$kind, $count] = explode(' ', trim($line));
    if ($kind === 'reads') {
        reads($client, $server, (int) $count);
    } else {
        connections($listen, (int) $count);
    }
    echo "done\n";
}
