<?php
// What the PHP rigs share: options, the listener, telling the harness when the leak is complete, and leaving when stdin
// ends. No client socket is touched here.

final class Rig
{
    public const REPLY = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    private const CLOSE_WAIT = 8;
    // Columns of /proc/net/tcp.
    private const LOCAL = 1;
    private const STATE = 3;

    public readonly bool $healthy;
    public readonly mixed $listener;
    private int $port;
    private int $connections;
    private int $served = 0;
    private bool $reported = false;

    public function __construct()
    {
        $options = getopt('', ['port:', 'upstream:', 'connections:', 'healthy']);
        $this->healthy = isset($options['healthy']);
        $this->connections = (int) ($options['connections'] ?? 5);
        $place = 'tcp://127.0.0.1:' . ($options['port'] ?? 0);
        $flags = STREAM_SERVER_BIND | STREAM_SERVER_LISTEN;
        $context = stream_context_create(['socket' => ['backlog' => 4096]]);
        $this->listener = stream_socket_server($place, $code, $error, $flags, $context);
        $name = stream_socket_get_name($this->listener, false);
        $this->port = (int) substr(strrchr($name, ':'), 1);
        $this->beThereForAWhile();
        fwrite(STDOUT, "ready $this->port\n");
    }

    /** As a service is: its interpreter is known by then, for it has used a socket. */
    private function beThereForAWhile(): void
    {
        $own = stream_socket_server('tcp://127.0.0.1:0');
        fclose(stream_socket_client('tcp://' . stream_socket_get_name($own, false)));
        fclose($own);
        sleep(1);
    }

    /** Returns when a client waits to be accepted. */
    public function next(): void
    {
        while (true) {
            [$ready, $none] = [[STDIN, $this->listener], null];
            $seconds = $this->reported ? null : 0;
            stream_select($ready, $none, $none, $seconds, $this->reported ? null : 20_000);
            if (in_array(STDIN, $ready, true)) {
                exit(0);
            }
            if (in_array($this->listener, $ready, true)) {
                $this->served++;
                return;
            }
            if (!$this->reported) {
                $this->report();
            }
        }
    }

    private function report(): void
    {
        $wanted = $this->healthy ? 0 : $this->connections;
        if ($this->served >= $this->connections && $this->stuck() === $wanted) {
            $this->reported = true;
            fwrite(STDOUT, "leaking $wanted\n");
        }
    }

    private function stuck(): int
    {
        $end = sprintf(':%04X', $this->port);
        $found = 0;
        foreach (array_slice(file('/proc/self/net/tcp'), 1) as $row) {
            $fields = preg_split('/\s+/', trim($row));
            $found += str_ends_with($fields[self::LOCAL], $end)
                && hexdec($fields[self::STATE]) === self::CLOSE_WAIT;
        }
        return $found;
    }
}
