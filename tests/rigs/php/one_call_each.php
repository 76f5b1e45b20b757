<?php
// Two functions, each with one call that reads to the end: same thread, same depth, same way through the executor.
//
// Whoever tells them apart by native frames alone calls one by the other's name.

$listener = stream_socket_server('tcp://127.0.0.1:0');
$place = 'tcp://' . stream_socket_get_name($listener, false);
$held = [];

function read_orders($connection): string
{
    return (string) fread($connection, 100);
}

function read_stock($connection): string
{
    return (string) fread($connection, 100);
}

function connect_and_close(): void
{
    $peer = stream_socket_client($GLOBALS['place']);
    fwrite($peer, 'x');
    usleep(10_000);
    fclose($peer);
}

function serve(int $count, bool $keep): void
{
    for ($number = 0; $number < $count; $number++) {
        connect_and_close();
        $connection = stream_socket_accept($GLOBALS['listener']);
        $read = $number % 2 ? 'read_orders' : 'read_stock';
        while ($read($connection) !== '');
        if ($keep) {
            $GLOBALS['held'][] = $connection;
        } else {
            fclose($connection);
        }
    }
}

fwrite(STDOUT, $place . "\n");
for ($round = 0; $round < (int) $argv[1]; $round++) {
    serve(10, false);
}
serve(10, true);
fwrite(STDOUT, "stuck\n");
fgets(STDIN);
