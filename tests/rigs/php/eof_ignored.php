<?php
// eof-ignored: the handler sees the end of the stream and returns; a registry of sessions keeps the socket.
require __DIR__ . '/rig.php';

function handle_client_and_forget($connection, bool $healthy): void
{
    while ((string) fread($connection, 1024) !== '') {
        fwrite($connection, Rig::REPLY);
    }
    if ($healthy) {
        fclose($connection);
    }
}

function main(): void
{
    $server = new Rig();
    // Nothing but the end of the program takes it away: exit() leaves functions as a return does.
    static $sessions = [];
    while (true) {
        $server->next();
        $connection = stream_socket_accept($server->listener);
        $sessions[] = $connection;
        handle_client_and_forget($connection, $server->healthy);
    }
}

main();
