<?php
// lost-reference: the handler answers one request and never looks at the connection again.
require __DIR__ . '/rig.php';

final class Handler
{
    private array $sessions = [];

    public function answerAndForget($connection, bool $healthy): void
    {
        $request = fread($connection, 1024);
        $this->sessions[] = $connection;
        fwrite($connection, $request === '' ? '' : Rig::REPLY);
        if ($healthy) {
            fclose($connection);
        }
    }
}

$server = new Rig();
$handler = new Handler();
while (true) {
    $server->next();
    $handler->answerAndForget(stream_socket_accept($server->listener), $server->healthy);
}
